"""Exact gradients of spike times: EventProp, trained delays, and pseudospikes of silent neurons."""

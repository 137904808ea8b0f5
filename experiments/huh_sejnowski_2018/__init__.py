"""Gradient descent for spiking neural networks (Huh & Sejnowski 2018): gated synapses."""

"""Experiments after Zenke & Vogels (2021)."""

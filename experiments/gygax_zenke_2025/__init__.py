"""Gygax & Zenke (2025), Elucidating the theory of surrogate gradients, Neural Comput. 37:886."""

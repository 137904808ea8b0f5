"""The experiments of Holberg & Salvi, "Exact Gradients for Stochastic Spiking Neural Networks
Driven by Rough Signals", NeurIPS 2024 (arXiv 2405.13587)."""

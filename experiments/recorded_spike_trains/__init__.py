"""Stochastic neurons as generative models of recorded spike trains."""

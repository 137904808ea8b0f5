"""Experiments on roughsnn: one folder for each paper, one file for each figure or table."""

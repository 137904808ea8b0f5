"""Neftci, Augustine, Paul & Detorakis (2017), Event-driven random back-propagation: enabling
neuromorphic deep learning machines, Front. Neurosci. 11:324."""

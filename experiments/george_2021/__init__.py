"""George, Soci, Miscuglio & Sorger (2021), Symmetry perception with spiking neural networks."""

"""Fiete & Seung (2006), Gradient learning in spiking neural networks by dynamic perturbation of
conductances, Phys. Rev. Lett. 97:048104."""

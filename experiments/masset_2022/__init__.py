"""Masset, Zavatone-Veth, Connor, Murthy & Pehlevan (2022), Natural gradient enables fast sampling
in spiking neural networks."""

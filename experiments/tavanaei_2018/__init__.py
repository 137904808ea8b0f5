"""Tavanaei, Kirby & Maida (2018), Training spiking ConvNets by STDP and gradient descent, IJCNN."""

"""Bourdoukan & Deneve (2015), Enforcing balance allows local supervised learning in spiking
recurrent networks."""

"""Bourdoukan, Barrett, Machens & Deneve (2012), Learning optimal spike-based representations."""

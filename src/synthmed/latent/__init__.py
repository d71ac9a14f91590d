"""Directions in the latent space of a generator: find them, move along them, measure what changes."""

"""Procedural phantoms with known truth: images from a distribution that we know, as raw files in the real formats."""

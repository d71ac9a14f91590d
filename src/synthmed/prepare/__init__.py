"""From raw files to image sets."""

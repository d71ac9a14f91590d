"""Commands for people: what this machine can do, what a network or an image set looks like."""

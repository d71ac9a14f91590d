"""Pure functions on numpy arrays: no model, no file, no torch."""

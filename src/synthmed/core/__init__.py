"""What every room stands on: errors, files, settings, provenance."""

"""What documents printed: one YAML file for each, and what reads them."""

"""Anomaly detection with a generator of normal images (AnoGAN): search, encoder, evaluation."""

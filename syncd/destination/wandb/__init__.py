"""Weights & Biases as a destination."""

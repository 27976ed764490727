"""A trained model and recordings in; notes, scores and pictures out."""

"""Audio files in, samples and the model's input frames out."""

"""The network, its loss, its decoder and its checkpoints."""

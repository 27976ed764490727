"""Singing that other programs made, for validation alone: see `__main__`."""

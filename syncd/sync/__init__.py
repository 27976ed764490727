"""Decides what to do with every run, and does it."""

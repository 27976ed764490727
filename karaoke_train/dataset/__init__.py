"""Folders of recordings and notes in, padded batches out."""

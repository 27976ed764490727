"""What other programs wrote in, record logs out."""

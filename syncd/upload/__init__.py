"""Transports: the lines of a run go in, the server's own count of them comes out."""

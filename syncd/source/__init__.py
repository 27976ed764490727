"""Log folders in, complete lines with their positions out."""

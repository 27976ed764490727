"""Lines to a server, and the server's own counts back."""

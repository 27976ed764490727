"""A dashboard on this machine, by trackio: a local store, without account or network."""

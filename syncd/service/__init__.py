"""Running unattended: the process, its supervision, its systemd unit."""

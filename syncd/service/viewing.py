"""`view`: what is new goes to the local store while its dashboard is open."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from syncd.destination.base import Destination
from syncd.service.process import stop_signals
from syncd.settings import Settings
from syncd.source.watcher import Watcher
from syncd.sync.assemble import build_daemon


def keep_uploading(
    settings: Settings, destination: Destination, files: Callable[[], Sequence[Path]]
) -> None:
    """Until SIGINT or SIGTERM. files: the logs that are meant, by now. No lock on the state folder
    is needed: a daemon that uploads a run to the same store holds its lease."""
    named = list(files())
    looked_at = time.monotonic()
    with (
        stop_signals() as signals,
        build_daemon(settings, destination, files=named) as daemon,
    ):
        watcher = Watcher(daemon.file_changed, settings.watcher)
        try:
            while not signals.stop:
                watcher.follow(settings.log_dir)
                if time.monotonic() - looked_at >= settings.rescan:
                    named[:] = files()  # which the daemon looks through with each rescan
                    looked_at = time.monotonic()
                daemon.tick()
                daemon.wait()
        finally:
            watcher.stop()

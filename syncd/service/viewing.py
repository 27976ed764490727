"""`view`: what is new goes to the local store while its dashboard is open."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Final

from syncd.destination.base import Destination
from syncd.settings import Settings
from syncd.source.watcher import Watcher
from syncd.sync.assemble import build_daemon

LAST_UPLOAD: Final = 30.0  # seconds for what is under way when the one that it is for has gone


def keep_uploading(
    settings: Settings,
    destination: Destination,
    files: Callable[[], Sequence[Path]],
    is_over: Callable[[], bool],
) -> None:
    """Until it is over. files: the logs that are meant, by now. No lock on the state folder is
    needed: a daemon that uploads a run to the same store holds its lease."""
    named = list(files())
    looked_at = time.monotonic()
    with build_daemon(settings, destination, files=named) as daemon:
        watcher = Watcher(daemon.file_changed, settings.watcher, recursive=settings.recursive)
        try:
            while not is_over():
                watcher.follow(settings.log_dir)
                if time.monotonic() - looked_at >= settings.rescan:
                    named[:] = files()  # which the daemon looks through with each rescan
                    looked_at = time.monotonic()
                daemon.tick()
                daemon.wait()
        finally:
            watcher.stop()


def end_of_input() -> Event:
    """Set when standard input ends, as a pipe does whose other end was closed, or held by a process
    that was killed. This process then has a moment for its last upload, and is ended: whoever it
    was for has gone, or does not wait for more."""
    ended = Event()
    Thread(target=_read_to_end, args=(ended,), name="end of input", daemon=True).start()
    return ended


def _read_to_end(ended: Event) -> None:
    with suppress(OSError):  # closed from the beginning, or unreadable: no more is to come of it
        while os.read(0, 1 << 12):
            pass
    ended.set()
    time.sleep(LAST_UPLOAD)
    os.kill(os.getpid(), signal.SIGTERM)

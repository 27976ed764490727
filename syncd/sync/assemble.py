"""Settings and a destination -> a Daemon with its threads, for `start` and for `sync`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Final

from syncd import memory
from syncd.destination.base import Destination
from syncd.paths import destination_folder
from syncd.settings import Settings
from syncd.sync.loop import Daemon

MOST_THREADS: Final = 16  # what many sessions share: each waits for an answer most of the time


@contextmanager
def build_daemon(
    settings: Settings,
    destination: Destination,
    *,
    files: Sequence[Path] | None = None,
    documents: Sequence[Path] = (),
    once: bool = False,
    run_name: str = "",
    news: Event | None = None,
) -> Iterator[Daemon]:
    """A daemon that is ready to tick; leaving drops all its sessions at once, and closes the
    destination. news: see Daemon."""
    memory.give_back()
    workers = min(destination.max_sessions, MOST_THREADS) + 1  # one more, for who asks the server
    with ThreadPoolExecutor(workers, "upload") as threads:
        daemon = Daemon(
            settings,
            destination_folder(settings.state_dir, destination.identity.address),
            destination,
            threads,
            files=files,
            documents=documents,
            once=once,
            run_name=run_name,
            news=news,
        )
        try:
            yield daemon
        finally:
            destination.close()
            threads.shutdown(cancel_futures=True)
            daemon.drop()

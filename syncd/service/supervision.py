"""The loop -> the service manager: ready, how it goes, still alive, reloading, stopping.

Called from the loop alone and after its work, so a loop that hangs sends no ping and is restarted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from syncd.service.sd_notify import Notifier
from syncd.sync.connectivity import Connectivity
from syncd.sync.loop import Daemon
from syncd.sync.scheduler import Phase, Run

STARTING: Final = 90.0  # seconds that each file of a long first scan may take, as TimeoutStartSec
PINGS: Final = 4  # per watchdog interval
TELL_EVERY: Final = 1.0  # seconds between two of its words; all runs are counted for them
RECORD: Final = 150  # bytes of a usual record

Identity = tuple[int, int]  # device, inode


class ServiceNotifier:
    """Tells the manager of one daemon process how it is."""

    def __init__(
        self,
        notifier: Notifier,
        folders: Iterable[Path],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notifier = notifier
        self._clock = clock
        self._ready = False
        self._status = ""
        self._tell_at = 0.0
        self._pinged_at = clock()
        self._pinging = notifier.watchdog / PINGS or STARTING / PINGS
        self._folders = {folder: identity(folder) for folder in folders}

    @property
    def managed(self) -> bool:
        """Whether there is a manager."""
        return bool(self._notifier)

    def progress(self) -> None:
        """Part of a long tick is done: the manager's time limit begins anew."""
        now = self._clock()
        if now - self._pinged_at < self._pinging:
            return
        self._pinged_at = now
        self._notifier.alive()
        if not self._ready:
            self._notifier.extend(STARTING)

    def tick_done(self, *daemons: Daemon) -> None:
        """The loop has done one whole tick of the daemon of each destination."""
        now = self._clock()
        if self.managed and (now >= self._tell_at or not self._ready):
            self._tell_at = now + TELL_EVERY
            if (words := " | ".join(_summaries(daemons))) != self._status:
                self._notifier.status(words)
                self._status = words
        if not self._ready:
            self._notifier.ready()
            self._ready = True
        self.progress()

    def reloading(self) -> None:
        """The settings are read again; the next whole tick ends it."""
        self._notifier.reloading()
        self._ready = False

    def stopping(self) -> None:
        """The loop has ended."""
        self._notifier.status("stopping; what is not uploaded is safe on disk")
        self._notifier.stopping()

    def folder_became_read_only(self) -> Path | None:
        """A log folder that was created after this process was started, and is read-only to it:
        systemd makes exceptions from a read-only file system for what is there at the start
        alone (ReadWritePaths= in systemd.exec(5)). Only a new process can take leases in it."""
        if not self._notifier:
            return None
        for folder, before in self._folders.items():
            now = identity(folder)
            if now and now != before and read_only(folder):
                return folder
        return None


def identity(folder: Path) -> Identity | None:
    """Which folder this is; None while there is none."""
    try:
        stat = folder.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def read_only(folder: Path) -> bool:
    """Whether the mount that this process sees the folder on takes no writes."""
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _summaries(daemons: Sequence[Daemon]) -> Iterable[str]:
    for daemon in daemons:
        count = len(daemon.runs) + len(daemon.finished)
        words = summary(daemon.connectivity, daemon.awake, count)
        yield words if len(daemons) == 1 else f"{daemon.kind}: {words}"


def summary(connectivity: Connectivity, runs: Mapping[str, Run], total: int) -> str:
    """One line: online or not and why, how many runs, how much is left. runs: those of the `total`
    for which something may be due."""
    if not connectivity.known:
        state = "connecting"
    elif connectivity.error:
        state = f"offline ({connectivity.error.what})"
    else:
        state = "online"
    blocked = sum(run.phase is Phase.BLOCKED for run in runs.values())
    parts = [state, _many(total, "run"), _pending(runs.values())]
    if blocked:
        parts.append(f"{_many(blocked, 'run')} for you to decide about: karaoke-syncd status")
    return "; ".join(parts)


def _pending(runs: Iterable[Run]) -> str:
    left, exact = 0, True
    for run in runs:
        unread = max(0, run.size - run.scanned_to)
        left += run.sent.ordinal - run.confirmed.ordinal + -(-unread // RECORD)
        exact = exact and not unread
    return f"{'' if exact else 'about '}{_many(left, 'record')} left" if left else "all uploaded"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"

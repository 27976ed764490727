"""Whether a log's writer lives, as its lock tells."""

from __future__ import annotations

import os
from pathlib import Path

from karaoke_train.runlog.layout import lock_path
from karaoke_train.runlog.lock import holder_of


class WriterLocks:
    """The locks of runs' writers, by the runs' keys.

    A lock is held from the log's opening to its closing, and a kernel lets go of it whatever kills
    the writer: a free one without an `end` record is a crash, a held one a quiet training. One that
    is not there may just have been removed from under its holder, who makes it anew within a
    second: the next look tells.
    """

    def __init__(self) -> None:
        self._missed: set[str] = set()  # runs whose lock was not there at the last look

    def is_held(self, key: str, log: Path) -> bool:
        """Whether the writer of this log lives."""
        held = holder_of(lock_path(log)) is not None
        if held:
            self._missed.discard(key)
        return held

    def may_come_back(self, key: str, log: Path) -> bool:
        """Whether the lock, which is not held, is not there for the first time."""
        if key not in self._missed and not os.path.lexists(lock_path(log)):
            self._missed.add(key)
            return True
        self._missed.discard(key)
        return False

"""Files that were read -> those that are other ones now, once whoever writes them has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

EVERY: Final = 2.0  # seconds between looks

# File -> inode, size, time of its last change; empty without one
Look = dict[Path, tuple[int, ...]]


class FileWatch:
    """Looks at some files, by their stat alone. files: asked at each look, since one of them may
    name another."""

    def __init__(
        self,
        files: Callable[[], Iterable[Path]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = files
        self._clock = clock
        self._read = self._seen = self._look()
        self._next = clock() + EVERY

    def changed(self) -> list[Path]:
        """The files that have changed since this last named one; empty between looks, and while
        they go on changing: an editor and `wandb login` write a file in several steps."""
        now = self._clock()
        if now < self._next:
            return []
        self._next = now + EVERY
        before, self._seen = self._seen, self._look()
        if self._seen != before:
            return []
        read, self._read = self._read, self._seen
        files = {**read, **self._seen}
        return [path for path in files if read.get(path, ()) != self._seen.get(path, ())]

    def _look(self) -> Look:
        return {path: _stat(path) for path in self._files()}


def _stat(path: Path) -> tuple[int, ...]:
    try:
        stat = path.stat()
    except (OSError, ValueError):  # ValueError: a name that is none
        return ()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns

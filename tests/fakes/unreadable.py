"""Files and folders that can't be opened, whoever the tests run as: root may read everything."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_EVENTS = ("open", "os.listdir", "os.scandir")
_closed: set[Path] = set()
_hooked = False


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Within this, opening or listing the path, or what is in it, is refused in this process."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_refuse)  # for good, so it is installed once
        _hooked = True
    _closed.add(path)
    try:
        yield
    finally:
        _closed.discard(path)


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if _closed and event in _EVENTS and isinstance(arguments[0], str | Path):
        path = Path(arguments[0])
        # relative to an open folder, it is told by its name
        if any(path.is_relative_to(one) or str(path) == one.name for one in _closed):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

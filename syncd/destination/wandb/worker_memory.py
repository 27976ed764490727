"""How much memory a process has for itself, with those that it started; by Linux' /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")


def taken(pid: int) -> int:
    """Bytes that are nobody else's: no libraries, nothing that is swapped out. 0 where this system
    does not tell, and for a process that is gone."""
    return _own(pid) + sum(map(taken, _children(pid)))


def _own(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        resident, shared = (_PROC / str(pid) / "statm").read_text().split()[1:3]  # pages, proc(5)
        return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError, ValueError):  # it, or a thread of it, ends meanwhile
        for thread in (_PROC / str(pid) / "task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    return found

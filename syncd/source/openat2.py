"""A file opened by one call of Linux's that passes no link on the way, openat2(2).

In place of a call per folder: a live run's log is opened for each of its records.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

_NUMBER: Final = 437  # the same on every architecture that Python has wheels for
_HERE: Final = -100  # AT_FDCWD; the path is absolute
_NO_LINKS: Final = 0x04  # RESOLVE_NO_SYMLINKS
_C: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


class _How(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("flags", "mode", "resolve")]


def descriptor_of(path: str, flags: int) -> int | None:
    """A descriptor of what is at an absolute path; None where it can't be had so, for whichever
    reason: a link, nothing there, a kernel older than 5.6, a sandbox. `/..` leads out, as a link
    does."""
    encoded = os.fsencode(path)
    if _C is None or b"/.." in encoded or b"\0" in encoded:
        return None
    sys.audit("open", path, None, flags)  # as `os.open` does, for whoever watches or refuses that
    how = _How(flags, 0, _NO_LINKS)
    opened = _C.syscall(_NUMBER, _HERE, encoded, ctypes.byref(how), ctypes.sizeof(how))
    return opened if opened >= 0 else None

"""Folders -> the names of their files that may have news, as Linux tells them (inotify(7)).

For the folders themselves and not for those below, which watchdog knows how to follow. There each
event passes three threads; 256 runs that write a record per second had a quarter of the daemon's
time go there.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

_C: Final = ctypes.CDLL(None, use_errno=True)
AVAILABLE: Final = hasattr(_C, "inotify_init1")
APART: Final = 0.01  # seconds between looks: what many runs write is taken in together
# IN_MODIFY, IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE and IN_ONLYDIR. Not
# IN_OPEN and IN_CLOSE_NOWRITE: each of our own looks at a file would come back as both
_NEWS: Final = 0x2 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x01000000
_IGNORED: Final = 0x8000  # IN_IGNORED: the folder is gone
_EVENT: Final = struct.Struct("iIII")  # watch, mask, cookie, length of the name
_MOST: Final = 1 << 16  # bytes of events that are read at a time

Tell = Callable[[str], None]


class Inotify:
    """Calls back from one thread of its own. Raises OSError where the kernel has no room for it."""

    def __init__(self) -> None:
        self._events = _checked(_C.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        self._wakes, self._wake = os.pipe2(os.O_CLOEXEC)
        self._told: dict[int, dict[str, Tell]] = {}  # by the kernel's number of a folder
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="inotify", daemon=True)
        self._thread.start()

    def watch(self, folder: str, tell: Tell) -> Callable[[], None]:
        """Tell the paths of files in this folder. Returns what ends that. Raises OSError."""
        with self._guard:  # no event of it is looked at before it is known whose it is
            number = _checked(_C.inotify_add_watch(self._events, os.fsencode(folder), _NEWS))
            self._told.setdefault(number, {})[folder] = tell
        return partial(self._unwatch, number, folder)

    def stop(self) -> None:
        """End the thread."""
        os.write(self._wake, b"\0")

    def join(self, timeout: float) -> None:
        """Wait until it has ended, after which nothing may be watched."""
        self._thread.join(timeout)
        if not self._thread.is_alive():
            for descriptor in (self._events, self._wakes, self._wake):
                os.close(descriptor)

    def _unwatch(self, number: int, folder: str) -> None:
        with self._guard:
            others = self._told.get(number, {})  # one folder may have two names
            others.pop(folder, None)
            if not others and self._told.pop(number, None) is not None:
                _C.inotify_rm_watch(self._events, number)

    def _run(self) -> None:
        anything, stopped = select.poll(), select.poll()
        anything.register(self._events, select.POLLIN)
        for either in (anything, stopped):
            either.register(self._wakes, select.POLLIN)
        while not any(one == self._wakes for one, _ in anything.poll()):
            self._tell(os.read(self._events, _MOST))
            stopped.poll(APART * 1000)

    def _tell(self, data: bytes) -> None:
        # In order, and each once. Of too many events some are lost, which needs no care here: a
        # live run's file is looked at every few seconds as well
        for number, name in dict.fromkeys(self._parsed(data)):
            with self._guard:
                told = list(self._told.get(number, {}).items())
            for folder, tell in told:
                tell(os.path.join(folder, name))  # noqa: PTH118  a Path takes ten times as long

    def _parsed(self, data: bytes) -> Iterator[tuple[int, str]]:
        at = 0
        while at < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, at)
            begin, at = at + _EVENT.size, at + _EVENT.size + length
            if mask & _IGNORED:
                with self._guard:
                    self._told.pop(number, None)
            elif length:
                yield number, os.fsdecode(data[begin:at].rstrip(b"\0"))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result

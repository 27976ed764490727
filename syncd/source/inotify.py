"""Folders -> what has changed in them, as Linux tells it (inotify(7))."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from syncd.source.changes import Change, Tell

_C: Final = ctypes.CDLL(None, use_errno=True)
AVAILABLE: Final = hasattr(_C, "inotify_init1")
APART: Final = 0.01  # seconds between looks: what many runs write is taken in together
# IN_MODIFY, IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE and IN_ONLYDIR. Not
# IN_OPEN and IN_CLOSE_NOWRITE: each of our own looks at a file would come back as both
_NEWS: Final = 0x2 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x01000000
_NO_LINK: Final = 0x02000000  # IN_DONT_FOLLOW
_WENT: Final = 0x40 | 0x200  # IN_MOVED_FROM, IN_DELETE
_FOLDER: Final = 0x40000000  # IN_ISDIR
_IGNORED: Final = 0x8000  # IN_IGNORED: the folder is gone
_LOST: Final = 0x4000  # IN_Q_OVERFLOW
_EVENT: Final = struct.Struct("iIII")  # watch, mask, cookie, length of the name
_MOST: Final = 1 << 16  # bytes of events that are read at a time
# The system's own words for these are of full disks and open files
_NO_ROOM: Final = {
    errno.ENOSPC: "no inotify watch is left (fs.inotify.max_user_watches)",
    errno.EMFILE: "no inotify instance is left (fs.inotify.max_user_instances)",
}


class Inotify:
    """Calls back from one thread of its own. Raises OSError where the kernel has no room for it, or
    knows no inotify. lost: whether events were lost, since there were too many: whose they were
    nobody knows, folders that came or went among them."""

    def __init__(self) -> None:
        if not AVAILABLE:
            raise OSError(errno.ENOSYS, "this system has no inotify")
        self.lost = False
        self._events = _checked(_C.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        self._wakes, self._wake = os.pipe2(os.O_CLOEXEC)
        self._told: dict[int, dict[str, Tell]] = {}  # by the kernel's number of a folder
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="inotify", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """How many folders are watched."""
        return len(self._told)

    def watch(self, folder: str, tell: Tell, *, link: bool) -> Callable[[], None]:
        """Tell what changes in this folder from now on. link: whether it may be one to a folder.
        Returns what ends that. Raises OSError."""
        wanted = _NEWS if link else _NEWS | _NO_LINK
        with self._guard:  # no event of it is looked at before it is known whose it is
            number = _checked(_C.inotify_add_watch(self._events, os.fsencode(folder), wanted))
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
        files: set[tuple[int, str]] = set()
        for number, name, change in self._parsed(data):
            if change is Change.FILE:  # each once; of folders, the order is what tells
                if (number, name) in files:
                    continue
                files.add((number, name))
            with self._guard:
                told = list(self._told.get(number, {}).items())
            for folder, tell in told:
                tell(os.path.join(folder, name), change)  # noqa: PTH118  a Path takes ten times as long

    def _parsed(self, data: bytes) -> Iterator[tuple[int, str, Change]]:
        at = 0
        while at < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, at)
            begin, at = at + _EVENT.size, at + _EVENT.size + length
            if mask & _LOST:
                self.lost = True
            elif mask & _IGNORED:
                with self._guard:
                    self._told.pop(number, None)
            elif length:
                yield number, os.fsdecode(data[begin:at].rstrip(b"\0")), _change(mask)


def _change(mask: int) -> Change:
    if not mask & _FOLDER:
        return Change.FILE
    return Change.FOLDER_WENT if mask & _WENT else Change.FOLDER_CAME


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, _NO_ROOM.get(code) or os.strerror(code))
    return result

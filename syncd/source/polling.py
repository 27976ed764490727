"""Folders -> what has changed in them, found by looking every few seconds: for file systems on
which another machine's writes raise no event, and where the kernel has no room for more watches."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

from syncd.source.changes import Change, Tell, refuse_link
from syncd.source.scanner import is_log

POLL_EVERY: Final = 2.0  # seconds

# By name: of a log its inode, size and time. Of a folder that it is one: what is in it shows by its
# own path, whichever it has become
_Looks = Mapping[str, tuple[int, ...]]
_FOLDER: Final = (0,)


class Polling:
    """Calls back from one thread of its own."""

    lost = False  # see Inotify: what changed shows at the next look, however much it was

    def __init__(self) -> None:
        self._seen: dict[str, tuple[_Looks, Tell]] = {}  # by the folder's path
        self._guard = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="polling", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """How many folders are watched."""
        return len(self._seen)

    def watch(self, folder: str, tell: Tell, *, link: bool) -> Callable[[], None]:
        """Tell what changes in this folder from now on. link: whether it may be one to a folder.
        Returns what ends that. Raises OSError."""
        if not link:
            refuse_link(folder)
        seen = _looks(folder)
        with self._guard:
            self._seen[folder] = seen, tell
        return partial(self._unwatch, folder)

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()

    def join(self, timeout: float) -> None:
        """Wait until it has ended; a look at a file system that does not answer is left."""
        self._thread.join(timeout)

    def _unwatch(self, folder: str) -> None:
        with self._guard:
            self._seen.pop(folder, None)

    def _run(self) -> None:
        while not self._stopped.wait(POLL_EVERY):
            with self._guard:
                watched = list(self._seen.items())
            for folder, (seen, tell) in watched:
                self._look(folder, seen, tell)

    def _look(self, folder: str, seen: _Looks, tell: Tell) -> None:
        try:
            now = _looks(folder)
        except OSError:  # gone, which is told of the folder around it, or away for a while
            return
        if now == seen:
            return
        with self._guard:
            if folder not in self._seen:
                return
            self._seen[folder] = now, tell
        for name, change in _changes(seen, now):
            tell(os.path.join(folder, name), change)  # noqa: PTH118


def _looks(folder: str) -> _Looks:
    """What the folder's logs and the folders in it look like. Raises OSError."""
    found: dict[str, tuple[int, ...]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    found[entry.name] = _FOLDER
                elif is_log(entry.name):
                    stat = entry.stat(follow_symlinks=False)
                    found[entry.name] = stat.st_ino, stat.st_size, stat.st_mtime_ns
            except OSError:  # it has just gone
                continue
    return found


def _changes(before: _Looks, now: _Looks) -> Iterator[tuple[str, Change]]:
    for name in before.keys() | now.keys():
        was, looks = before.get(name, ()), now.get(name, ())
        if was == looks:
            continue
        if was == _FOLDER:
            yield name, Change.FOLDER_WENT
        elif looks == _FOLDER:
            yield name, Change.FOLDER_CAME
        if {was, looks} != {(), _FOLDER}:
            yield name, Change.FILE

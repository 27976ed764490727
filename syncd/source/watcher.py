"""Which files may have news: the system's own events where they show writes (inotify; elsewhere
what watchdog knows), polling where they don't.

Events only say where to look; a slow rescan finds what they missed, and is all there is for folders
beyond those that may be watched.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR
from typing import Final, NamedTuple

from syncd import events
from syncd.source import inotify
from syncd.source.changes import Change
from syncd.source.folder_tree import DEEPEST, below, folders, is_left_out
from syncd.source.inotify import Inotify
from syncd.source.native import Native
from syncd.source.polling import Polling
from syncd.source.safe_open import names_in
from syncd.source.scanner import is_log

# Folders: to poll is to look at every log in them each time, which a rescan does not; and watchdog
# has a thread for each
MOST: Final = {"polling": 500, "native": 500}
_WATCHES: Final = Path("/proc/sys/fs/inotify/max_user_watches")
# A folder that has just gone, that nobody may look into, or in whose place there is a link by now
_NONE_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP})
# file systems on which another machine's writes raise no inotify event
BLIND: Final = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "ceph", "beegfs", "afs", "9p"),
        *("fuse", "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.glusterfs", "glusterfs"),
        *("vboxsf", "virtiofs", "pvfs2", "orangefs"),
    }
)
Observer = Inotify | Native | Polling
_WAYS: Final[dict[str, type[Observer]]] = {
    "inotify": Inotify,
    "native": Native,
    "polling": Polling,
}


class Watcher:
    """Calls `on_news(path)` from threads of its own for files that may have news. recursive: also
    for those in folders below, as `folder_tree` has them."""

    def __init__(
        self, on_news: Callable[[Path], None], how: str = "auto", *, recursive: bool = False
    ) -> None:
        self._on_news = on_news
        self._how = how
        self._recursive = recursive
        self._most = {how: most_watched(how) for how in _WAYS}
        self._observers: dict[str, Observer] = {}
        self._watched: dict[str, _Watched] = {}  # by the folder's path
        self._said: set[str] = set()
        self._stopped = False
        self._guard = threading.Lock()

    def follow(self, folders: Iterable[Path]) -> bool:
        """Watch these folders as well, those that exist; call it again for those that come, or
        were removed and made again. Returns whether one came, or events were lost: what is in
        them has to be looked at."""
        came = False
        with self._guard:
            self._begin_anew_where_lost()
            for folder in folders:
                identity, known = _identity(folder), self._watched.get(str(folder))
                if known and known.identity != identity:  # what is gone is watched
                    self._leave(str(folder))
                if identity and str(folder) not in self._watched:
                    how = method(folder) if self._how == "auto" else self._how
                    came |= self._enter(str(folder), how, identity=identity)
        return came

    def stop(self) -> None:
        """End the threads."""
        with self._guard:
            self._stopped = True
            observers, self._observers = list(self._observers.values()), {}
        for observer in observers:  # without the guard, for which one may wait
            observer.stop()
        for observer in observers:
            observer.join(timeout=5)

    def _begin_anew_where_lost(self) -> None:
        lost = [observer for observer in self._observers.values() if observer.lost]
        for observer in lost:
            observer.lost = False
        if lost:
            for watched in self._watched.values():
                watched.end()
            self._watched.clear()

    def _told(self, path: str, change: Change) -> None:
        """Something happened in a folder that is watched. Called by the observers' threads."""
        around, _, name = path.rpartition("/")
        if change is Change.FILE:
            if is_log(name):  # a Path's own match takes ten times as long
                self._on_news(Path(path))
        elif self._recursive and not is_left_out(name):
            with self._guard:
                if self._stopped:
                    return
                if change is Change.FOLDER_WENT:
                    self._leave(path)
                elif parent := self._watched.get(around):
                    self._enter(path, parent.how, depth=parent.depth + 1)

    def _leave(self, folder: str) -> None:
        """Watch the folder no more, and none below it."""
        inside = f"{folder}/"
        for path in [path for path in self._watched if path == folder or path.startswith(inside)]:
            self._watched.pop(path).end()

    def _enter(
        self, folder: str, how: str, depth: int = 0, identity: tuple[int, int] | None = None
    ) -> bool:
        """Watch the folder and, where that is asked for, those below it; whether it could be. Each
        is watched before it is listed: what comes later is told, and what is there is seen. depth:
        of folders below one that was named, whose files are told: nobody looks at them else."""
        left = deque([(folder, depth)])
        while left:
            path, depth = left.popleft()
            if depth > DEEPEST or path in self._watched:
                continue
            if not (end := self._begin(path, how, depth)):
                continue
            self._watched[path] = _Watched(end, how, depth, identity if path == folder else None)
            with suppress(OSError):  # it has just gone, or can't be listed
                if self._recursive:
                    left.extend((str(deeper), depth + 1) for deeper in below(Path(path)))
                if identity is None:
                    for name in filter(is_log, names_in(Path(path))):
                        self._on_news(Path(path, name))
        return folder in self._watched

    def _begin(self, folder: str, how: str, depth: int) -> Callable[[], None] | None:
        """What ends the folder's watch, which has begun; None where there is none."""
        for way in dict.fromkeys((how, "polling")):
            try:
                observer = self._observer(way)
                if depth and len(observer) >= self._most[way]:
                    if self._is_first("left out"):
                        events.not_watched(Path(folder), self._most[way])
                    return None
                return observer.watch(folder, self._told, link=depth == 0)
            except OSError as error:
                if error.errno in _NONE_THERE:
                    return None
                if self._is_first("below" if depth else folder):
                    self._said.add("below")
                    events.polled_instead(Path(folder), error)
        return None

    def _is_first(self, what: str) -> bool:
        """Whether this was not said before: of ten thousand folders each would say it."""
        before = len(self._said)
        self._said.add(what)
        return len(self._said) > before

    def _observer(self, how: str) -> Observer:
        if how not in self._observers:
            self._observers[how] = _WAYS[how]()
        return self._observers[how]


class _Watched(NamedTuple):
    """A folder that is watched. identity: which one it was, of one that was named."""

    end: Callable[[], None]
    how: str
    depth: int
    identity: tuple[int, int] | None


def count_below(folder: Path) -> int:
    """The folders that are to be watched below one that is named."""
    return len(folders((folder,), recursive=True)) - 1


def most_watched(how: str) -> int:
    """So many folders are watched at most, those that are named left aside. Of the kernel's watches
    half are left to the user's other programs."""
    return MOST.get(how) or _watches() // 2


def _watches() -> int:
    try:
        return int(_WATCHES.read_text())
    except (OSError, ValueError):  # no Linux
        return 8192


def _identity(folder: Path) -> tuple[int, int] | None:
    """Device and inode of a folder; None when it isn't one, or may not be looked into."""
    try:
        stat = folder.stat()
    except OSError:
        return None
    if not S_ISDIR(stat.st_mode) or not os.access(folder, os.R_OK | os.X_OK):
        return None
    return stat.st_dev, stat.st_ino


def no_inotify() -> str:
    """Why this process could not watch a folder by inotify; empty where it could."""
    try:
        made = Inotify()
    except OSError as error:
        return error.strerror or str(error)
    try:
        made.watch("/", lambda path, change: None, link=False)
    except OSError as error:
        return error.strerror or str(error)
    finally:
        made.stop()
        made.join(timeout=5)
    return ""


def method(folder: Path) -> str:
    """How a folder has to be watched: polling where its file system is blind, else as the system
    tells of changes."""
    if filesystem(folder) in BLIND:
        return "polling"
    return "inotify" if inotify.AVAILABLE else "native"


def filesystem(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The type of the file system that a folder is on; empty where nobody can tell."""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
        folder = folder.resolve()
    except OSError:
        return ""
    best, kind = -1, ""
    for line in lines:
        words = line.split(" ")
        if len(words) < 3:
            continue
        point = Path(words[1].replace("\\040", " "))
        if folder.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), words[2]
    return kind

"""Which files may have news: inotify where it sees writes, polling where it doesn't.

Events only say where to look; a slow rescan finds what they missed. Where there are more folders
than may be watched, it is all there is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from stat import S_ISDIR
from typing import Final

from watchdog.events import (
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

from syncd import events
from syncd.source import inotify
from syncd.source.folder_tree import folders, is_left_out
from syncd.source.scanner import is_log

POLL_EVERY: Final = 2.0  # seconds
# Folders below one: to poll is to look at every file in them each time, which a rescan does not
MOST_POLLED: Final = 500
_WATCHES: Final = Path("/proc/sys/fs/inotify/max_user_watches")
# What may be news. The kernel tells of nothing else: each of our own looks at a file would come
# back as two events, opened and closed, which with 64 live runs took a fifth of the daemon's time.
NEWS: Final[list[type[FileSystemEvent]]] = [
    FileCreatedEvent,
    FileModifiedEvent,
    FileClosedEvent,
    FileMovedEvent,
    FileDeletedEvent,
]
# file systems on which another machine's writes raise no inotify event
BLIND: Final = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "ceph", "beegfs", "afs", "9p"),
        *("fuse", "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.glusterfs", "glusterfs"),
        *("vboxsf", "virtiofs", "pvfs2", "orangefs"),
    }
)


class Watcher:
    """Calls `on_news(path)` from a thread of its own for files that may have news. recursive: also
    for those in folders below."""

    def __init__(
        self, on_news: Callable[[Path], None], how: str = "auto", *, recursive: bool = False
    ) -> None:
        self._on_news = on_news
        self._how = how
        self._recursive = recursive
        self._observers: dict[str, BaseObserver | inotify.Inotify] = {}
        self._watched: dict[Path, _Watched] = {}
        self._guard = threading.Lock()

    def follow(self, folders: Iterable[Path]) -> bool:
        """Watch these folders as well, those that exist; call it again for those that come, or
        were removed and made again. Returns whether one came: what is in it raised no event."""
        came = False
        with self._guard:
            for folder in folders:
                identity = _identity(folder)
                known = self._watched.get(folder)
                if known and known.identity != identity:  # its observer looks at what is gone
                    del self._watched[folder]
                    known.unschedule()
                if identity and folder not in self._watched:
                    self._watched[folder] = self._watch(folder, identity)
                    came = True
        return came

    def stop(self) -> None:
        """End the threads."""
        with self._guard:
            for observer in self._observers.values():
                observer.stop()
            for observer in self._observers.values():
                observer.join(timeout=5)
            self._observers.clear()

    def _watch(self, folder: Path, identity: tuple[int, int]) -> _Watched:
        how = method(folder) if self._how == "auto" else self._how
        if self._recursive and too_many(found := count_below(folder), how):
            events.not_watched(folder, found)
            return _Watched(identity)
        try:
            return self._watched_by(how, folder, identity)
        except OSError as error:  # a limit of the kernel's: of instances (EMFILE), watches (ENOSPC)
            events.polled_instead(folder, error)
            return self._watched_by("polling", folder, identity)

    def _watched_by(self, how: str, folder: Path, identity: tuple[int, int]) -> _Watched:
        observer = self._observer(how)
        handler = (
            _HandlerBelow(self._on_news, folder) if self._recursive else _Handler(self._on_news)
        )
        if isinstance(observer, inotify.Inotify):
            return _Watched(identity, observer.watch(str(folder), handler.tell))
        watch = observer.schedule(
            handler, str(folder), recursive=self._recursive, event_filter=NEWS
        )
        return _Watched(identity, partial(observer.unschedule, watch))

    def _observer(self, how: str) -> BaseObserver | inotify.Inotify:
        if how not in self._observers:
            self._observers[how] = self._new_observer(how)
        return self._observers[how]

    def _new_observer(self, how: str) -> BaseObserver | inotify.Inotify:
        if how != "polling" and not self._recursive and inotify.AVAILABLE:
            return inotify.Inotify()
        observer = PollingObserver(timeout=POLL_EVERY) if how == "polling" else Observer()
        observer.start()
        return observer


@dataclass(frozen=True, slots=True)
class _Watched:
    """A folder that is watched: which one it was, and what ends that; nothing where it is not, as
    that would be too much."""

    identity: tuple[int, int]
    unschedule: Callable[[], None] = lambda: None


class _Handler(FileSystemEventHandler):
    def __init__(self, on_news: Callable[[Path], None]) -> None:
        self._on_news = on_news

    def on_any_event(self, event: FileSystemEvent) -> None:
        for name in filter(None, map(os.fsdecode, (event.src_path, event.dest_path))):
            self.tell(name)

    def tell(self, name: str) -> None:
        """The file of this path may have news."""
        if is_log(name.rpartition("/")[2]):  # a Path's own match takes ten times as long
            self._on_news(Path(name))


class _HandlerBelow(_Handler):
    """What is in folders that nobody looks into is no news: their every write would have all others
    looked at."""

    def __init__(self, on_news: Callable[[Path], None], root: Path) -> None:
        def on_news_there(path: Path) -> None:
            inside = path.is_relative_to(root)
            if inside and not any(map(is_left_out, path.relative_to(root).parts[:-1])):
                on_news(path)

        super().__init__(on_news_there)


def count_below(folder: Path) -> int:
    """The folders that are to be watched for one that is named, itself included."""
    return len(folders((folder,), recursive=True))


def too_many(count: int, how: str) -> bool:
    """Whether so many folders are more than may be watched. Of the kernel's watches half are left
    to the user's other programs."""
    return count > (MOST_POLLED if how == "polling" else _watches() // 2)


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
        made: BaseObserver | inotify.Inotify
        if inotify.AVAILABLE:
            made = inotify.Inotify()
        else:
            made = Observer()
            made.start()  # and stopped below: one that never ran does not close what it has opened
    except OSError as error:
        return error.strerror or str(error)
    made.stop()
    made.join(timeout=5)
    return ""


def method(folder: Path) -> str:
    """How a folder has to be watched: inotify, or polling where its file system is blind."""
    return "polling" if filesystem(folder) in BLIND else "inotify"


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

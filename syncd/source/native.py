"""Folders -> what has changed in them, as systems without inotify tell it, by watchdog: macOS by
FSEvents, BSD by kqueue."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from syncd.source.changes import Change, Tell, refuse_link

# Not what was opened, or closed unwritten: each of our own looks at a file would come back as both
_NEWS: Final[list[type[FileSystemEvent]]] = [
    *(FileCreatedEvent, FileModifiedEvent, FileClosedEvent, FileMovedEvent, FileDeletedEvent),
    *(DirCreatedEvent, DirMovedEvent, DirDeletedEvent),
]


class Native:
    """Calls back from one thread of its own; watchdog has one more per folder."""

    lost = False  # watchdog does not tell; the slow rescan finds what there was no event of

    def __init__(self) -> None:
        self._observer = Observer()
        self._observer.start()

    def __len__(self) -> int:
        """How many folders are watched."""
        return len(self._observer.emitters)

    def watch(self, folder: str, tell: Tell, *, link: bool) -> Callable[[], None]:
        """Tell what changes in this folder from now on. link: whether it may be one to a folder.
        Returns what ends that. Raises OSError."""
        if not link:
            refuse_link(folder)
        watch = self._observer.schedule(_Handler(tell), folder, event_filter=_NEWS)

        def end() -> None:
            with suppress(KeyError):  # it ended by itself, as its folder went
                self._observer.unschedule(watch)

        return end

    def stop(self) -> None:
        """End the threads."""
        self._observer.stop()

    def join(self, timeout: float) -> None:
        """Wait until they have ended."""
        self._observer.join(timeout)


class _Handler(FileSystemEventHandler):
    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def on_any_event(self, event: FileSystemEvent) -> None:
        came, went = Change.FILE, Change.FILE
        if event.is_directory:
            came, went = Change.FOLDER_CAME, Change.FOLDER_WENT
        gone = event.event_type in ("deleted", "moved")
        for path, change in ((event.src_path, went if gone else came), (event.dest_path, came)):
            if path:
                self._tell(os.fsdecode(path), change)

"""A new run: its id, its tags, and a file that nobody else has."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from itertools import count, islice
from pathlib import Path

from karaoke_train.runlog.format import MAX_TAG, RunLogError
from karaoke_train.runlog.layout import lock_path, log_name
from karaoke_train.runlog.lock import LOCK_WAIT, Held, Lock, LockKind
from karaoke_train.runlog.sink import Sink, open_new
from karaoke_train.runlog.warn import warn


def create_file(folder: Path, started: datetime) -> tuple[Sink, LockKind]:
    """A new file in `folder`, and the kind of lock that is held on it.

    Where no lock can be had the run goes on without one: that its writer has died, the daemon can
    then tell only from the file's silence. Raises OSError when no file can be made.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    names = (log_name(started, attempt) for attempt in count())
    path, descriptor = open_new(folder / name for name in islice(names, 10_000))
    lock = Lock(lock_path(path))
    try:
        lock.acquire(timeout=LOCK_WAIT)
    except (OSError, Held) as error:
        warn(f"{path} has no lock ({error}). Its records are kept all the same.")
    unsynced = {folder, *(place.parent for place in made)}
    return Sink(path, descriptor, lock, unsynced=unsynced), lock.kind


def checked_tags(tags: Iterable[str] | None) -> tuple[str, ...]:
    """The tags, each once; a single text is one tag. Raises RunLogError for one that wandb refuses,
    which would otherwise be known only when the run is uploaded."""
    given = (tags,) if isinstance(tags, str) else tuple(map(str, tags or ()))
    for tag in given:
        if not 1 <= len(tag) <= MAX_TAG:
            raise RunLogError(
                f"the tag {tag[:80]!r} has {len(tag)} characters; wandb takes 1 to {MAX_TAG}. "
                "Nothing was started; give a shorter one."
            )
    return tuple(dict.fromkeys(given))


def new_run_id() -> str:
    """12 characters, 60 random bits: enough that no two runs, or parts, ever get the same."""
    import base64

    return base64.b32encode(os.urandom(10))[:12].decode().lower()

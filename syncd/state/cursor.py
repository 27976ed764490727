"""What the server confirmed of each run: a cache that saves reading a file from its start.

Losing a cursor costs a re-read, never a duplicate: the server's own count is the last word.
One folder per destination, one file per run: runs are written independently of each other, and a
damaged file costs one run a re-read. (One file for all, as Vector's checkpointer has it, is
rewritten whole for each line that any run confirms.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from karaoke_train.runlog.reader import Position
from syncd.state import atomic_json

# A file of another version counts as lost. That is always safe here, and a migration never is.
VERSION: Final = 1
T = TypeVar("T")


class Fingerprint(NamedTuple):
    """What a file must show to be the one that a cursor speaks of: hashes of its first line and
    of the last bytes before the confirmed offset."""

    first: str
    before: str


class Head(NamedTuple):
    """What a log's first line says of its run, and what the file looked like when that was read: as
    long as it looks so, nobody has to open it to know."""

    looks: tuple[int, ...]  # see `scanner.looks`
    first: str  # the line's hash
    alias: str  # see `scanner.alias_key`
    run_id: str  # as the line has it
    run_name: str
    project: str  # empty where the line names none
    upload: bool
    created: str
    part: str


class Cursor(NamedTuple):
    """The records of a run that the server holds, and the file that they came from."""

    run_id: str  # of a later part of a run, the part's key (see `scanner.LogFile.key`)
    # Where the session really wrote to: what another account or project has is not here
    project: str
    entity: str
    path: str  # for people; a file that was moved is known again by its first line
    fingerprint: Fingerprint
    # Ordinal and offset together. From one alone the other takes reading the whole file, and two
    # files, one for each, could disagree after a crash
    confirmed: Position
    base: int = 0  # the line of the run that the file's first line is
    notes: int = -1  # lines before `confirmed` that `notes` has; -1: not known
    config_at: int = 0  # byte offset of the newest config record before `confirmed`
    attempt: int = 0  # that it begins; 0: not known
    # lines that the server answered for and never counted: they are not sent a second time
    uncounted: int = 0
    stopped: bool = False  # somebody pressed Stop on the run's page
    ended: bool = False  # the server knows how the run ended
    # When it was told, in seconds since 1970, where a post of an earlier session may still come and
    # have the server show the run as running; 0.0 where none can
    unsettled: float = 0.0
    updated: str = ""  # ISO 8601, when the server last confirmed anything
    head: Head | None = None  # of an ended run: there are many, and each look would read them all

    @property
    def records(self) -> int:
        """Records of the file that the server holds."""
        return self.confirmed.ordinal - self.base

    @property
    def first_line_hash(self) -> str:
        """Of the file; empty at its start, where nothing of it was read yet."""
        return self.fingerprint.first if self.confirmed.offset else ""


def load(folder: Path | str, run_id: str) -> Cursor | None:
    """The run's cursor; None when there's none, or a damaged one, or one from a newer version."""

    def decode(data: Any) -> Cursor:
        # Zeros after a power cut, a person's edits, another run's copy: whatever is odd is lost
        if data.pop("check") != _check(data):
            raise ValueError("its digest is another")
        if data.pop("version") != VERSION or data["run_id"] != run_id:
            raise ValueError("another version, or another run's")
        confirmed = _made(Position, data["confirmed"])
        if min(confirmed.ordinal, confirmed.offset, data["config_at"]) < 0:
            raise ValueError("a place before the file's start")
        data["confirmed"] = confirmed
        data["fingerprint"] = _made(Fingerprint, data["fingerprint"])
        if (head := data.get("head")) is not None:
            head["looks"] = tuple(head["looks"])
            data["head"] = _made(Head, head)
        return _made(Cursor, data)

    return atomic_json.load(f"{folder}/{run_id}.json", decode)


def _made(cls: type[T], values: Mapping[str, Any]) -> T:
    """The named tuple with these values, which are as `save` had them: their digest says so. Older
    versions had fewer fields; with one of a newer version it is none. Raises TypeError."""
    if tuple(values) == cls._fields:  # type: ignore[attr-defined]
        return tuple.__new__(cls, values.values())  # type: ignore[type-var]  # half of `_make`
    return cls(**values)


def save(folder: Path, cursor: Cursor, *, sync: bool = True) -> None:
    """Write the run's cursor atomically. Raises OSError; the old one then stands. Without `sync` a
    power cut may take it back, which costs a re-read: hundreds of live runs move on each few
    seconds, and as many fsyncs were a fifth of a core."""
    # The digest covers the version as well: a file with half of an older one's content is no cursor
    data = {
        "version": VERSION,
        **cursor._asdict(),
        "fingerprint": cursor.fingerprint._asdict(),
        "confirmed": cursor.confirmed._asdict(),
        "head": cursor.head._asdict() if cursor.head else None,
    }
    atomic_json.write(folder / f"{cursor.run_id}.json", {**data, "check": _check(data)}, sync=sync)


def remove(folder: Path, run_id: str) -> None:
    """Forget the cursor; the next upload asks the server where to continue."""
    # Not synced: a removal that a crash undoes costs a look at what the server confirmed before
    (folder / f"{run_id}.json").unlink(missing_ok=True)


def heads(cursors: Iterable[Cursor]) -> dict[str, Head]:
    """The heads that are known, by the files' paths."""
    return {known.path: known.head for known in cursors if known.head}


def project_of(folder: Path, run_id: str) -> str:
    """The project that the run was uploaded to; empty when there's no cursor."""
    known = load(folder, run_id)
    return known.project if known else ""


def load_all(folder: Path, keys: Iterable[str] | None = None) -> dict[str, Cursor]:
    """All cursors of a destination by run_id, or these. See `each`."""
    return {known.run_id: known for known in each(folder, keys)}


def each(folder: Path, keys: Iterable[str] | None = None) -> Iterator[Cursor]:
    """All cursors of a destination, or these, one after the other; of a folder that can't be read,
    none. keys: from `run_ids`."""
    place = str(folder)  # made a text once: there may be 10,000
    for run_id in (run_ids(folder) if keys is None else keys) or ():
        if known := load(place, run_id):
            yield known


def is_there(folder: Path, run_id: str) -> bool:
    """Whether the run has a cursor, a damaged one included."""
    return (folder / f"{run_id}.json").exists()


def run_ids(folder: Path) -> Set[str] | None:
    """The runs that have a cursor, damaged ones included; None for a folder that can't be read."""
    return atomic_json.stems(folder)


def _check(data: Mapping[str, object]) -> str:
    """A digest of the cursor's own content."""
    # A flipped bit in an offset would otherwise look like a log that was rewritten, and a person
    # would be asked to decide about a file that is fine
    return hashlib.sha256(atomic_json.encode(data, sort_keys=True)).hexdigest()[:16]

"""The records of a file and the history of its run -> how they differ; pure but for media hashes.

Line n of the file has to be the history row with `_step` n, once, with equal content. What wandb
itself makes of values is no difference: `_runtime` is its own, NaN equals NaN, a mapping with
nothing in it is not kept, an integer past 64 bits with sign becomes a float. Pictures and sounds
are compared by what refers to them: their kind, caption and, where the file is here, its hash; and,
where that is asked, whether the destination has the file. What rows of earlier versions did not
have (`ADDED`) may be missing, not otherwise.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Final

from karaoke_train.runlog.format import MAX_DEPTH
from karaoke_train.runlog.reader import Line
from syncd.destination.rows import ATTEMPT, PART, RUNTIME, Media, attempt_at, row
from syncd.source.media_folder import MediaFolder

SHOWN: Final = 20  # ordinals and differences of a run that are kept; all are counted
ADDED: Final = frozenset({RUNTIME, ATTEMPT, PART})
_DEEPEST: Final = MAX_DEPTH + 2  # of a row: what a record has, and what its line is put into
_ABSENT: Final = "(absent)"
_NON_FINITE: Final = frozenset({"NaN", "Infinity", "-Infinity"})
_KINDS: Final = {"audio": "audio-file"}  # as wandb calls them; all else is an image

# what `--json` calls them: its keys never change
_JSON_NAMES: Final = {
    "duplicate": "repeated",
    "duplicate_at": "repeated_at",
    "extra": "foreign",
    "extra_at": "foreign_at",
}

MediaHash = Callable[[Media], str]  # sha256 in hex, empty where the file isn't here


@dataclass(frozen=True, slots=True)
class Difference:
    """One value of one record that is another at the server."""

    ordinal: int
    key: str
    file: str
    server: str


@dataclass(slots=True)
class Comparison:
    """How a run's file and its history compare.

    records, rows: in the file, at the server. missing: ordinals without a row, though later ones
    have theirs. waiting: records after the last row, which are yet to be uploaded. duplicate: steps
    that came twice, or out of order; again: of these, those that came twice with one content.
    extra: rows of which the file has no record. different: records with another content. absent:
    records whose picture or sound is not among the destination's files, where these were asked for.
    placeholder: records that have a row, as they should, which says that there was something and
    not what: of a bad line, and of a picture or sound that could not be uploaded. Of the lists, the
    first few are in `…_at` and `differences`.
    shown_as: the destination's word for a run whose end it was told, where it shows no such end.
    """

    records: int = 0
    rows: int = 0
    missing: int = 0
    waiting: int = 0
    duplicate: int = 0
    again: int = 0
    extra: int = 0
    different: int = 0
    absent: int = 0
    placeholder: int = 0
    missing_at: list[int] = field(default_factory=list)
    duplicate_at: list[int] = field(default_factory=list)
    extra_at: list[int] = field(default_factory=list)
    absent_at: list[int] = field(default_factory=list)
    placeholder_at: list[int] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    shown_as: str = ""

    @property
    def consistent(self) -> bool:
        """Whether what the server has is what the file has, as far as it got."""
        records = self.missing or self.duplicate or self.extra or self.different
        return not (records or self.absent or self.shown_as)

    @property
    def equal(self) -> bool:
        """Whether the server has every record of the file, once."""
        return self.consistent and not self.waiting

    def to_json(self) -> dict[str, Any]:
        """The stable schema of `verify --json`, for one run."""
        values = {_JSON_NAMES.get(key, key): value for key, value in asdict(self).items()}
        return {"equal": self.equal, **values}


def compare(
    lines: Iterable[Line],
    rows: Iterable[Mapping[str, Any]],
    started: float,
    hash_of: MediaHash,
    base: int = 0,
    files: Callable[[], Collection[str]] | None = None,
) -> Comparison:
    """Walk along both at once. rows: by ascending `_step`, as wandb's scan gives them. base: the
    ordinal of the first line. files: those that the destination has, which is asked once, for the
    first picture or sound."""
    names = cache(files) if files else None
    found = Comparison()
    ahead = _with_attempts(lines)
    before: Mapping[str, Any] = {}
    for there in rows:
        found.rows += 1
        step = there.get("_step")
        before, last = there, before
        if not isinstance(step, int) or step < base + found.records:
            found.duplicate += 1
            found.again += step == last.get("_step") and _equal(_own(last), _own(there))
            _note(found.duplicate_at, step if isinstance(step, int) else -1)
            continue
        line, attempt = _advance(ahead, step, found)
        if line is None:
            found.extra += 1
            _note(found.extra_at, step)
            continue
        found.records += 1
        expected = row(line, started, attempt)
        differing = list(_differences(line, expected, there, hash_of))
        found.different += bool(differing)
        for difference in differing:
            _note(found.differences, difference)
        if names and not _has_files(expected, there, names):
            found.absent += 1
            _note(found.absent_at, step)
        if line.record is None or _was_left_out(expected, there):
            found.placeholder += 1
            _note(found.placeholder_at, step)
    for _ in ahead:
        found.records += 1
        found.waiting += 1
    return found


def same_row(
    line: Line, there: Mapping[str, Any], started: float, attempt: int, hash_of: MediaHash
) -> bool:
    """Whether a row of the server's is the line's. attempt: the line's."""
    return not any(_differences(line, row(line, started, attempt), there, hash_of))


def _with_attempts(lines: Iterable[Line]) -> Iterator[tuple[Line, int]]:
    attempt = 1
    for line in lines:
        attempt = attempt_at(line, attempt)
        yield line, attempt


def _advance(
    ahead: Iterator[tuple[Line, int]], step: int, found: Comparison
) -> tuple[Line | None, int]:
    """The file's line `step` with its attempt; those before it have no row."""
    for line, attempt in ahead:
        if line.at.ordinal == step:
            return line, attempt
        found.records += 1
        found.missing += 1
        _note(found.missing_at, line.at.ordinal)
    return None, 0


def _differences(
    line: Line, expected: Mapping[str, Any], there: Mapping[str, Any], hash_of: MediaHash
) -> Iterator[Difference]:
    here = kept(expected)
    theirs = kept(_own(there))
    for key in sorted(theirs.keys() | here.keys()):
        mine, their = here.get(key, _ABSENT), theirs.get(key, _ABSENT)
        if isinstance(mine, Media):
            if not _refers(their, mine, hash_of):
                yield Difference(line.at.ordinal, key, f"{mine.kind} {mine.path}", _short(their))
        elif not _equal(mine, their) and not (their is _ABSENT and _came_later(key, line)):
            yield Difference(line.at.ordinal, key, _short(mine), _short(their))


def _came_later(key: str, line: Line) -> bool:
    """Whether rows of earlier versions lack it. What the record itself calls so, none lacked."""
    return key in ADDED and key not in (line.record or {})


def _own(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if _ours(key)}


def _ours(key: str) -> bool:
    """Whether the key is one that we send: wandb's own begin with an underscore."""
    return key == "_timestamp" or not key.startswith("_")


def kept(value: Any, depth: int = 0) -> Any:
    """The value as wandb keeps it, also where it's inside of others. depth: of these; a server's
    row may have more of them than a recursion ends well with, and is then no row of ours."""
    if depth > _DEEPEST and isinstance(value, (Mapping, list, tuple)):
        return "(nested too deep)"
    if isinstance(value, Mapping):
        items = {key: kept(item, depth + 1) for key, item in value.items()}
        return {key: item for key, item in items.items() if item != {}}
    if isinstance(value, (list, tuple)):
        return [item if item == {} else kept(item, depth + 1) for item in value]
    if isinstance(value, str) and value in _NON_FINITE:
        return float(value)  # how wandb's own exports spell them
    past = isinstance(value, int) and not -(1 << 63) <= value < 1 << 63
    return float(value) if past else value


def _equal(mine: Any, theirs: Any) -> bool:
    if isinstance(mine, bool) is not isinstance(theirs, bool):
        return False
    if isinstance(mine, float) and isinstance(theirs, float) and math.isnan(mine):
        return math.isnan(theirs)
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        return mine.keys() == theirs.keys() and all(_equal(mine[k], theirs[k]) for k in mine)
    if isinstance(mine, list) and isinstance(theirs, list):
        return len(mine) == len(theirs) and all(map(_equal, mine, theirs))
    return bool(mine == theirs)


def _refers(theirs: Any, media: Media, hash_of: MediaHash) -> bool:
    """Whether the row refers to that picture or sound, or says that it wasn't there to be sent."""
    there = hash_of(media)
    if isinstance(theirs, str):  # in place of one that was not there, or was there and no picture
        was_there = theirs != _never_there(media)
        return theirs.startswith(f"{media.path} is missing") and not (there and not was_there)
    return (
        isinstance(theirs, Mapping)
        and theirs.get("_type") == _KINDS.get(media.kind, "image-file")
        and (theirs.get("caption") or "") == media.caption
        and (not there or theirs.get("sha256") == there)
    )


def _has_files(
    expected: Mapping[str, Any], there: Mapping[str, Any], names: Callable[[], Collection[str]]
) -> bool:
    """Whether what the row refers to is there. Of an empty one nobody can tell: it looks like one
    that never came."""
    return all(
        not isinstance(mine, Media)
        or not isinstance(their := there.get(key), Mapping)
        or not their.get("path")
        or their.get("size") == 0
        or their["path"] in names()
        for key, mine in expected.items()
    )


def _was_left_out(expected: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Whether the row has words in the place of a picture or sound that there was."""
    return any(
        isinstance(mine, Media)
        and isinstance(their := there.get(key), str)
        and their != _never_there(mine)
        for key, mine in expected.items()
    )


def _never_there(media: Media) -> str:
    return f"{media.path} is missing: {os.strerror(errno.ENOENT)}"


def media_hash(folder: MediaFolder, media: Media) -> str:
    """SHA-256 of a picture or sound, in hex; empty where it isn't here."""
    try:
        return folder.digest(media.path)[0]
    except (OSError, ValueError):  # ValueError: a path that is none
        return ""


def _note(kept_ones: list[Any], one: Any) -> None:
    if len(kept_ones) < SHOWN:
        kept_ones.append(one)


def _short(value: Any) -> str:
    text = value if value is _ABSENT else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"

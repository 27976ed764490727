"""Whether what the server has of a run is what its file has. A count is no proof: a server that
accepts gaps counts lines past a hole, and another file may have written them.

First a cheap look (first and last row, how many steps there are), which the caches of a server
that is fine may fail for some seconds; then record by record.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from karaoke_train.runlog.format import MAX_LINE, RunHeader
from karaoke_train.runlog.reader import Line, Position, parse_line
from karaoke_train.runlog.timestamps import parse_timestamp
from syncd.destination.base import Destination, Row, RunRef
from syncd.destination.comparison import Comparison, MediaHash, compare, media_hash, same_row
from syncd.destination.rows import PART, Media, attempt_at
from syncd.errors import ProblemCode, RunRefused, RunTrouble
from syncd.source import tailer
from syncd.source.fingerprint import Log, PinnedLog, open_pinned
from syncd.source.media_folder import MediaFolder
from syncd.source.scanner import as_new_command

# How many of a run's newest lines have their steps compared, and bytes of the file that hold them
LOOKED_AT: Final = 5_000
_LOOKED_AT_BYTES: Final = 2 << 20
_AT_ONCE: Final = 1000  # rows
MORE_ROWS: Final = 100_000  # than twice those that a server counts: it may be some seconds behind
_WAITS: Final = (0.0, 1.0, 2.0, 4.0)  # seconds before each look: tails were seen to be 2 to 4 s old


@dataclass(frozen=True, slots=True)
class Content:
    """A file and its place at a destination. key: what commands call it. start: where its first
    line is in the run. most_media: bytes of pictures and sounds that are read to be compared; any
    others count as what the server has. first_line_hash: what the file has to begin with each time;
    empty where it may have become another."""

    path: Path
    media: MediaFolder
    header: RunHeader
    ref: RunRef
    destination: Destination
    key: str
    start: Position = tailer.START
    most_media: float = math.inf
    first_line_hash: str = ""

    @property
    def log(self) -> Log:
        """The file, to be read."""
        return PinnedLog(self.path, self.first_line_hash) if self.first_line_hash else self.path

    def looks_right(self, end: Position, attempt: int, count: int) -> bool:
        """Whether the server has `count` steps of the run, the newest lines before `end` have a row
        each, and its rows of the file's first line and of the last one are the file's. attempt: of
        the last one. Waits some seconds for a last row that is not shown yet. Raises UploadError,
        OSError."""
        last = line_before(self.log, end)
        if last is not None and not any(self._has(last, attempt, wait) for wait in _WAITS):
            return False
        steps = self.destination.steps(self.ref)
        right = steps in (None, count) and self.begins_at(self.start.ordinal) is True
        return right and self._newest_once(end)

    def _newest_once(self, end: Position) -> bool:
        """Whether each of the newest lines before `end` has one row. A post that comes twice or
        late sets the server's own line cursor back, so that the next ones are put over others; a
        further one makes the number of rows right again, some of them twice and others missing.
        Raises UploadError, OSError."""
        last = end.ordinal
        for first in range(self._newest(end), last, _AT_ONCE):
            stop = min(first + _AT_ONCE, last)
            rows = self.destination.rows(self.ref, first, stop)
            if [row.get("_step") for row in rows] != list(range(first, stop)):
                return False
        return True

    def _newest(self, end: Position) -> int:
        """The first of the newest lines before `end` whose rows are looked at."""
        offset = max(0, end.offset - _LOOKED_AT_BYTES)
        with open_pinned(self.log) as file:
            file.seek(offset)
            lines = file.read(end.offset - offset).count(b"\n")
        return max(self.start.ordinal, end.ordinal - min(lines, LOOKED_AT))

    def is_another_at(self, end: Position, attempt: int) -> bool:
        """Whether the server shows a row of the last line before `end` that is not the file's.
        attempt: of that line. Raises UploadError, OSError."""
        last, step = line_before(self.log, end), end.ordinal - 1
        rows = self.destination.rows(self.ref, step, step + 1)
        return last is not None and len(rows) == 1 and not self._is(last, rows[0], attempt)

    def begins_at(self, ordinal: int) -> bool | None:
        """Whether this line of the run is the file's first one; None where the server doesn't show
        it. Raises UploadError, OSError."""
        rows = self.destination.rows(self.ref, ordinal, ordinal + 1)
        return self.is_first(rows[0]) if len(rows) == 1 else None

    def is_first(self, row: Row) -> bool:
        """Whether a row is that of the file's first line. Raises OSError."""
        if self.header.part and PART in row:
            return bool(row[PART] == self.header.part)
        line = next(iter(tailer.read(self.log, self.start).lines))
        return self._is(line, row, attempt_at(line, 1))

    def first_missing(self, end: int) -> int | None:
        """The first line before line `end` that the server hasn't; None when it has them all.

        Raises RunRefused when it has other rows than the file's: whose they are is for a person to
        say, and nothing is written over them. The file's own that are there twice stand in the
        places of those that are missing. Rows of the file's lines from `end` on are none: the
        count that `end` stands for lags behind the rows.
        """
        found = self.compared()
        if found.different or found.extra or found.duplicate > found.again:
            raise self._others(found)
        behind = self.start.ordinal + found.records - found.waiting
        first = found.missing_at[0] if found.missing else behind
        if first >= end and found.duplicate:  # more lines than there are
            raise self._others(found)
        return first if first < end else None

    def compared(self, *, with_files: bool = False) -> Comparison:
        """The file's lines and the server's rows, record by record. with_files: see that it has the
        pictures and sounds, too, which may come after their rows. Raises UploadError, OSError."""
        base = self.start.ordinal
        remote = self.destination.remote_run(self.ref)
        history = history_of(self, remote.count) if remote and remote.count else ()
        rows = _Own(history, base, self.log)
        lines = tailer.each_line(self.log, self.start, lambda: rows.reach)
        files = partial(self.destination.files, self.ref) if with_files else None
        found = compare(lines, rows, self._started, self._hash_within(), base, files)
        if rows.trouble:
            raise _as_far_as(rows.trouble, found)
        if rows.next_part is not None and base + found.records > rows.next_part:
            # the file goes on where another part of the run begins
            found.extra += 1
            found.extra_at.append(rows.next_part)
        return found

    @property
    def _started(self) -> float:
        return parse_timestamp(self.header.created, 0.0)

    def _has(self, line: Line, attempt: int, wait: float = 0.0) -> bool:
        self.destination.pause(wait)
        step = line.at.ordinal
        rows = self.destination.rows(self.ref, step, step + 1)
        return len(rows) == 1 and self._is(line, rows[0], attempt)

    def _is(self, line: Line, row: Row, attempt: int) -> bool:
        return same_row(line, row, self._started, attempt, self._hash)

    def _hash(self, media: Media) -> str:
        return media_hash(self.media, media)

    def _hash_within(self) -> MediaHash:
        left = self.most_media

        def hash_of(media: Media) -> str:
            nonlocal left
            left -= self.media.size(media.path)
            return self._hash(media) if left >= 0 else ""

        return hash_of

    def _others(self, found: Comparison) -> RunRefused:
        other = found.different + found.extra + found.duplicate
        return RunRefused(
            ProblemCode.DIFFERENT,
            f"{other:,} records {self.destination.identity.place} are not the file's",
            where=self.path.name,
            meaning="Somebody else wrote to the run, in another file of its id perhaps, or the "
            "file was changed; nothing is written over what is there",
            remedy=f"See which: karaoke-syncd verify {self.key}. Upload the file as a run of its "
            f"own: {as_new_command(self.path)}. Or leave it: karaoke-syncd forget "
            f"{self.key}",
        )


def history_of(content: Content, count: int) -> Iterator[Row]:
    """The run's rows, of which the server counts so many: one that never comes to an end with them
    would be read for ever. Raises RunTrouble for far more; UploadError."""
    most = 2 * count + MORE_ROWS
    for number, row in enumerate(content.destination.history(content.ref)):
        if number == most:
            raise RunTrouble(f"its history has more than {most:,} rows, of {count:,} counted ones")
        yield row


def _as_far_as(trouble: RunTrouble, found: Comparison) -> RunTrouble:
    """The same, with how far the comparison had come."""
    compared = found.records - found.waiting
    wrong = found.missing + found.different
    words = f"None of its {found.records:,} records were compared"
    if compared:
        words = (
            f"Of its {found.records:,} records {compared:,} were compared before that, and "
            f"{wrong or 'none'} of these are missing there or others; of the rest nothing is known"
        )
    again = "Nothing to do: it's looked at again by itself"
    where, by_hand = trouble.where, trouble.by_hand
    return RunTrouble(trouble.what, where=where, meaning=words, remedy=by_hand, by_itself=again)


class _Own:
    """Of a run's rows those from line `base` to where another part begins; next_part: where that
    is, once it was come to. reach: bytes of the file that they may speak of, which is where it ends
    when the last one has come: a file that is being written is ahead of its rows. trouble: what
    kept the others from coming."""

    def __init__(self, rows: Iterable[Row], base: int, log: Log) -> None:
        self._rows = rows
        self._base = base
        self._log = log
        self.next_part: int | None = None
        self.trouble: RunTrouble | None = None
        self.reach = math.inf

    def __iter__(self) -> Iterator[Row]:
        try:
            yield from self._own()
        except RunTrouble as trouble:
            self.trouble = trouble
        self.reach = tailer.size_of(self._log)

    def _own(self) -> Iterator[Row]:
        for row in self._rows:
            step = row.get("_step")
            if isinstance(step, int) and step > self._base and PART in row:
                self.next_part = step
                return
            if not isinstance(step, int) or step >= self._base:
                yield row


def line_before(log: Log, at: Position) -> Line | None:
    """The complete line that ends there; None at the file's start, and for an over-long one.
    Raises OSError."""
    start = max(0, at.offset - MAX_LINE - 1)
    with open_pinned(log) as file:
        file.seek(start)
        data = file.read(at.offset - start)
    begin = data.rfind(b"\n", 0, len(data) - 1) + 1
    if not at.offset or (start and not begin):
        return None
    return parse_line(data[begin:], Position(at.ordinal - 1, start + begin))

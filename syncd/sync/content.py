"""Whether what the server has of a run is what its file has. A count is no proof: a server that
accepts gaps counts lines past a hole, and another file may have written them.

First a cheap look (first and last row, how many steps there are), which the caches of a server
that is fine may fail for some seconds; then record by record.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from karaoke_train.runlog.format import MAX_LINE
from karaoke_train.runlog.reader import Line, Position, parse_line
from karaoke_train.runlog.timestamps import parse_timestamp
from syncd.destination.base import Destination, RunRef
from syncd.destination.comparison import Comparison, compare, media_hash, same_row
from syncd.destination.rows import attempt_at
from syncd.errors import ProblemCode, RunRefused
from syncd.source import tailer
from syncd.source.media_folder import MediaFolder
from syncd.source.safe_open import open_log

_WAITS: Final = (0.0, 1.0, 2.0, 4.0)  # seconds before each look: tails were seen to be 2 to 4 s old


@dataclass(frozen=True, slots=True)
class Content:
    """A run's file and its place at a destination. created: as in its header."""

    path: Path
    media: MediaFolder
    created: str
    ref: RunRef
    destination: Destination

    def looks_right(self, end: Position, attempt: int) -> bool:
        """Whether the server has as many steps as there are lines before `end`, and its first and
        last row are the file's. attempt: of the last one. Waits some seconds for a last row that is
        not shown yet. Raises UploadError, OSError."""
        last = line_before(self.path, end)
        if last is not None and not any(self._has(last, attempt, wait) for wait in _WAITS):
            return False
        first = next(iter(tailer.read(self.path, tailer.START).lines))
        steps = self.destination.steps(self.ref)
        return steps in (None, end.ordinal) and self._has(first, attempt_at(first, 1))

    def first_missing(self, end: int) -> int | None:
        """The first line before line `end` that the server hasn't; None when it has them all.

        Raises RunRefused when it has other rows than the file's: whose they are is for a person to
        say, and nothing is written over them. Rows of the file's lines from `end` on are none: the
        count that `end` stands for lags behind the rows.
        """
        found = self.compared()
        if found.different or found.extra or found.duplicate:
            raise self._others(found)
        first = found.missing_at[0] if found.missing else found.records - found.waiting
        return first if first < end else None

    def compared(self) -> Comparison:
        """The file's lines and the server's rows, record by record. Raises UploadError, OSError."""
        lines = tailer.each_line(self.path)
        remote = self.destination.remote_run(self.ref)
        rows = self.destination.history(self.ref) if remote and remote.count else iter(())
        return compare(lines, rows, self._started, lambda media: media_hash(self.media, media))

    @property
    def _started(self) -> float:
        return parse_timestamp(self.created, 0.0)

    def _has(self, line: Line, attempt: int, wait: float = 0.0) -> bool:
        self.destination.pause(wait)
        step = line.at.ordinal
        rows = self.destination.rows(self.ref, step, step + 1)
        return len(rows) == 1 and same_row(
            line, rows[0], self._started, attempt, lambda media: media_hash(self.media, media)
        )

    def _others(self, found: Comparison) -> RunRefused:
        run_id = self.ref.run_id
        other = found.different + found.extra + found.duplicate
        return RunRefused(
            ProblemCode.DIFFERENT,
            f"{other:,} records at the server are not the file's",
            where=self.path.name,
            meaning="Somebody else wrote to the run, or the file was changed; nothing is written "
            "over what is there",
            remedy=f"See which: karaoke-syncd verify {run_id}. Upload the file as a run of its "
            f"own: karaoke-syncd sync --as_new {self.path}. Or leave it: karaoke-syncd forget "
            f"{run_id}",
        )


def line_before(path: Path, at: Position) -> Line | None:
    """The complete line that ends there; None at the file's start, and for an over-long one.
    Raises OSError."""
    start = max(0, at.offset - MAX_LINE - 1)
    with open_log(path) as file:
        file.seek(start)
        data = file.read(at.offset - start)
    begin = data.rfind(b"\n", 0, len(data) - 1) + 1
    if not at.ordinal or (start and not begin):
        return None
    return parse_line(data[begin:], Position(at.ordinal - 1, start + begin))

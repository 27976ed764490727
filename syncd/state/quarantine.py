"""Bad lines: counted, placed, their first bytes kept. Each is on the server as a placeholder."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from karaoke_train.runlog.reader import Line
from karaoke_train.runlog.secrets import cut
from syncd.state import atomic_json

KEPT: Final = 1000  # bad lines per run that are kept with their bytes; all are counted


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no record. head: its first bytes, as text."""

    ordinal: int
    offset: int
    problem: str
    head: str


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The bad lines of a run, up to ordinal `upto`."""

    path: str = ""
    count: int = 0
    upto: int = 0
    lines: tuple[BadLine, ...] = ()


def run_ids(folder: Path) -> Set[str]:
    """The runs that have bad lines."""
    return atomic_json.stems(folder) or set()


def load(folder: Path, run_id: str) -> Quarantine:
    """The run's bad lines; none when the file is missing or damaged (they are found again)."""

    def decode(data: Any) -> Quarantine:
        lines = tuple(atomic_json.typed(BadLine, line) for line in data["lines"])
        return atomic_json.typed(Quarantine, data | {"lines": lines})

    return atomic_json.load(folder / f"{run_id}.json", decode) or Quarantine()


def words_of(name: str, kept: Quarantine) -> str:
    """What people are told of a run's bad lines; empty where there are none."""
    if not kept.count:
        return ""
    first = kept.lines[0] if kept.lines else None
    lines, they = f"{kept.count:,} lines", "they are"
    if kept.count == 1:
        lines, they = "1 line", "it is"
    which = f": the first is line {first.ordinal}, {first.problem}" if first else ""
    return f"of {name}, {lines} could not be uploaded as {they}{which}"


def add(folder: Path, run_id: str, path: Path, lines: Sequence[Line]) -> None:
    """Keep the bad ones of these consecutive lines. Lines seen before count once.

    Raises OSError when it can't be written.
    """
    bad = [line for line in lines if line.record is None]
    if not bad:
        return
    known = load(folder, run_id)
    new = [line for line in bad if line.at.ordinal >= known.upto]
    if not new:
        return
    kept = [*known.lines, *map(_bad_line, new)][:KEPT]
    atomic_json.write(
        folder / f"{run_id}.json",
        Quarantine(str(path), known.count + len(new), new[-1].end.ordinal, tuple(kept)),
    )


def _bad_line(line: Line) -> BadLine:
    head = cut(line.head.decode("utf-8", "backslashreplace").replace("\x00", "\\0"))
    return BadLine(line.at.ordinal, line.at.offset, line.problem, head.rstrip("\n"))

"""Bad lines: counted, placed, their first bytes kept. Each is on the server as a placeholder."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from karaoke_train.runlog.reader import Line
from karaoke_train.runlog.secrets import cut
from syncd.state import atomic_json

KEPT: Final = 1000  # bad lines per run that are kept with their bytes; all are counted
WAITING: Final = 20  # the same of those that the folder has not taken so far, which memory holds


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


class BadLines:
    """The bad lines of a run as they are found, also while the folder takes no writes: what it did
    not take is counted here, and goes there with the next try. Not thread-safe."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self._folder = folder
        self._run_id = run_id
        self._waiting = Quarantine()  # those behind the ones in the folder

    def all(self) -> Quarantine:
        """Those in the folder, and those that wait."""
        return _joined(load(self._folder, self._run_id), self._waiting)

    def add(self, path: Path, lines: Sequence[Line]) -> None:
        """Keep the bad ones of these consecutive lines. Lines seen before count once.

        Raises OSError when they can't be written: they wait then.
        """
        bad = [line for line in lines if line.record is None]
        if not bad:
            return
        known = load(self._folder, self._run_id)
        upto = max(known.upto, self._waiting.upto)
        new = [line for line in bad if line.at.ordinal >= upto]
        if not new:
            return
        lines_kept = tuple(map(_bad_line, new[:KEPT]))
        added = Quarantine(str(path), len(new), new[-1].end.ordinal, lines_kept)
        self._write(known, _joined(self._waiting, added))

    def save_again(self) -> None:
        """Try once more what the folder did not take. Raises OSError."""
        if self._waiting.count:
            self._write(load(self._folder, self._run_id), self._waiting)

    def _write(self, known: Quarantine, waiting: Quarantine) -> None:
        try:
            place = self._folder / f"{self._run_id}.json"
            atomic_json.write(place, _joined(known, waiting))
        except OSError:
            self._waiting = replace(waiting, lines=waiting.lines[:WAITING])
            raise
        self._waiting = Quarantine()


def _joined(before: Quarantine, behind: Quarantine) -> Quarantine:
    """Both, with the first KEPT of their lines."""
    return Quarantine(
        behind.path or before.path,
        before.count + behind.count,
        max(before.upto, behind.upto),
        (*before.lines, *behind.lines)[:KEPT],
    )


def _bad_line(line: Line) -> BadLine:
    head = cut(line.head.decode("utf-8", "backslashreplace").replace("\x00", "\\0"))
    return BadLine(line.at.ordinal, line.at.offset, line.problem, head.rstrip("\n"))

"""How far an upload is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from karaoke_train.runlog.reader import Position
from syncd.source import tailer
from syncd.sync.loop import Daemon

if TYPE_CHECKING:
    from rich.console import Console as Drawing
    from rich.progress import Progress

FIRST_LINE: Final = 5.0  # seconds until the first line; each next one takes twice as long, up to
LAST_LINE: Final = 600.0  # this: the upload beside a training of a week writes into a log

Show = Callable[[str, int, int], None]  # of what, records confirmed, records in all


class Console(Protocol):
    """Where it is said. drawing: the same, for a bar."""

    @property
    def is_terminal(self) -> bool: ...
    @property
    def drawing(self) -> Drawing: ...
    def print(self, words: str, /, *, style: str = "", soft_wrap: bool = False) -> None: ...


class Totals:
    """The records of an upload."""

    def __init__(self) -> None:
        self._counts = tailer.Counts()

    def of(self, daemon: Daemon) -> tuple[int, int]:
        """Records that are confirmed, and records in all."""
        confirmed = total = 0
        for key, run in daemon.runs.items():
            confirmed += run.records
            path, at = daemon.sessions[key].path, Position(run.records, run.confirmed.offset)
            total += max(run.records, self._counts.of(key, path, run.size, at))
        return confirmed, total


@contextmanager
def shown(console: Console) -> Iterator[Show]:
    """Shows how far it is, as the console can."""
    if not console.is_terminal:
        yield Lines(console).show
        return
    with _bar(console.drawing) as bar:
        tasks = {}

        def show(name: str, confirmed: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=None)
            bar.update(tasks[name], total=total or None, completed=confirmed)

        yield show


class Lines:
    """A line now and then, of what has changed since the last one."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._began: dict[str, tuple[float, int]] = {}  # when, and with how many confirmed
        self._said: dict[str, tuple[int, int]] = {}
        self._due: dict[str, tuple[float, float]] = {}  # when, and how long after the last one

    def show(self, name: str, confirmed: int, total: int) -> None:
        """Say it, if it's due and news."""
        now = self._clock()
        began, first = self._began.setdefault(name, (now, confirmed))
        due, wait = self._due.setdefault(name, (now + FIRST_LINE, FIRST_LINE))
        if now < due or self._said.get(name) == (confirmed, total):
            return
        wait = min(2 * wait, LAST_LINE)
        self._due[name], self._said[name] = (now + wait, wait), (confirmed, total)
        rate = (confirmed - first) / (now - began)
        left = f", about {(total - confirmed) / rate:,.0f} s left" if rate else ""
        words = f"{name}: {confirmed:,} of {total:,} records{left if total > confirmed else ''}"
        self._console.print(words, soft_wrap=True)


def _bar(console: Drawing) -> Progress:
    from rich.progress import (  # takes longer to import than a run with few records to upload
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("records"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )

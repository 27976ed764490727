"""`status --watch`: the status in place, once per second, until `q` or Ctrl-C."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from syncd.report.page import Line
from syncd.report.rates import Pace, Rates
from syncd.report.render import View, head
from syncd.report.selection import select as select_runs
from syncd.report.status import RunState, RunStatus, Status, spoken
from syncd.report.verdict import verdict

EVERY: Final = 1.0  # seconds between two looks
BAR: Final = 20  # columns
_BESIDE: Final = 8  # lines of the page beside the table

Look = Callable[[], Sequence[Status]]
Pause = Callable[[float], bool]  # wait so many seconds; whether `q` was pressed


def watch(look: Look, console: Console, view: View) -> Sequence[Status]:
    """Show what `look` finds, again and again. Returns the last of it, for the exit code."""
    if not console.is_terminal:
        return _lines(look, console)
    with _keys() as pause, Live(console=console, screen=True, auto_refresh=False) as live:
        return _screen(look, live, view, pause)


def _screen(look: Look, live: Live, view: View, pause: Pause) -> Sequence[Status]:
    found = look()
    rates = [Rates() for _ in found]  # of each destination
    try:
        while True:
            now = time.monotonic()
            paces = [rate.observe(now, one.runs) for rate, one in zip(rates, found, strict=True)]
            live.update(page(found, paces, live.console, view), refresh=True)
            if pause(EVERY):
                return found
            found = look()
    except KeyboardInterrupt:  # as wanted as `q`
        return found


def _lines(look: Look, console: Console) -> Sequence[Status]:
    """Without a terminal: a line whenever the verdict changes."""
    said, found = "", look()
    try:
        while True:
            words = " | ".join(str(verdict(status)) for status in found)
            if words != said:
                stamp = time.strftime("%H:%M:%S")
                console.print(f"{stamp} {words}", markup=False, highlight=False, soft_wrap=True)
                said = words
            if console.quiet:  # whoever read it has left
                return found
            time.sleep(EVERY)
            found = look()
    except KeyboardInterrupt:
        return found


def page(
    statuses: Sequence[Status],
    paces: Sequence[Mapping[str, Pace]],
    console: Console,
    view: View,
) -> RenderableType:
    """What the screen shows: verdicts, and the runs with their bars."""
    parts: list[RenderableType] = []
    room = max(1, (console.height - _BESIDE) // len(statuses) - 3)
    for status, pace in zip(statuses, paces, strict=True):
        found = verdict(status)
        name = f"[bold]{status.destination}[/] " if len(statuses) > 1 else ""
        parts += [
            console.render_str(name + _markup(head(found)), markup=True),
            console.render_str(f"[bold]Next[/]  {escape(found.advice)}", markup=True),
        ]
        limit = room if view.limit is None else min(room, view.limit)
        chosen = select_runs(status.runs, view.wanted, limit)
        parts += ["", _table(chosen.shown, pace, console), str(chosen), ""]
    parts.append(console.render_str(f"[dim]every {EVERY:.0f} s; q ends it[/]", markup=True))
    return Group(*parts)


def _markup(pieces: Line) -> str:
    return "".join(
        escape(one) if isinstance(one, str) else f"[{one.style}]{escape(one.text)}[/]"
        for one in pieces
    )


def _table(runs: Sequence[RunStatus], paces: Mapping[str, Pace], console: Console) -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold")
    made.add_column("Run", overflow="ellipsis", min_width=8)
    made.add_column("Uploaded", justify="right", no_wrap=True)
    made.add_column("", no_wrap=True)
    for heading in ("Written/s", "Uploaded/s", "Behind"):
        made.add_column(heading, justify="right", no_wrap=True)
    made.add_column("State", no_wrap=True)
    for run in runs:
        pace = paces[run.path]
        known = run.state is not RunState.ELSEWHERE
        made.add_row(
            console.render_str(run.label, markup=False),
            f"{run.uploaded:,}/{run.records:,}" if known else "?",
            _bar(run.records, run.uploaded if known else 0),
            _rate(pace.written),
            _rate(pace.uploaded),
            spoken(pace.behind) if pace.behind else "",
            f"{run.state}{' live' if run.live else ''}",
        )
    return made


def _bar(total: int, done: int) -> ProgressBar:
    return ProgressBar(total=max(1, total), completed=done, width=BAR)


def _rate(value: float) -> str:
    return f"{value:,.1f}" if value else ""


@contextmanager
def _keys() -> Iterator[Pause]:
    """Single keys from the terminal, without a newline behind them."""
    if not sys.stdin.isatty():
        yield _sleep
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield lambda seconds: _pressed(descriptor, seconds)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _pressed(descriptor: int, seconds: float) -> bool:
    """Whether `q` was pressed, or the terminal has gone, within so many seconds."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([descriptor], [], [], left)[0]:
            key = os.read(descriptor, 1)
            if key in (b"q", b"Q", b""):
                return True
    return False

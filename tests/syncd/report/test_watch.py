"""`status --watch`: what its screen shows, and how it ends, in a terminal and without one."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from syncd.errors import Exit
from syncd.report import watch
from syncd.report.rates import Pace
from syncd.report.render import View
from syncd.report.status import Status
from syncd.service import launch
from tests.patience import patience, until
from tests.syncd.report.test_status import STATUS, WAITS


def screen(status: Status, pace: Pace, height: int = 40) -> str:
    out = io.StringIO()
    console = Console(file=out, width=120, height=height, color_system=None, force_terminal=True)
    paces = {run.path: pace for run in status.runs}
    console.print(watch.page([status], [paces], console, View(limit=None)))
    return out.getvalue()


def test_the_screen_has_the_verdict_and_a_bar_with_rates_for_each_run() -> None:
    text = screen(replace(STATUS, runs=(WAITS,)), Pace(12.5, 30.0, 240.0))
    assert text.startswith("3 records wait, safe on disk; 2 are on the server")
    row = next(line for line in text.splitlines() if line.startswith("n "))
    assert "━" in row
    words = row.replace("━", " ").replace("╸", " ").replace("╺", " ").split()
    assert words == ["n", "2/5", "12.5", "30.0", "4", "minutes", "waiting"]


def test_more_runs_than_the_screen_has_room_for_are_counted() -> None:
    runs = tuple(WAITS._replace(path=f"/logs/{n}") for n in range(100))
    text = screen(replace(STATUS, runs=runs), Pace(), height=24)
    assert "more: " in text
    assert len(text.splitlines()) <= 24


def test_without_a_terminal_a_line_is_printed_when_the_verdict_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    more = WAITS._replace(pending=2, uploaded=3)
    looks = iter([(WAITS,), (WAITS,), (more,), (more,)])
    monkeypatch.setattr(time, "sleep", lambda seconds: None)

    def look() -> list[Status]:
        try:
            return [replace(STATUS, runs=next(looks))]
        except StopIteration:
            raise KeyboardInterrupt from None

    out = io.StringIO()
    (last,) = watch.watch(look, Console(file=out, width=80), View())
    assert last.pending == 2
    assert [line.split(" ", 1)[1] for line in out.getvalue().splitlines()] == [
        "3 records wait, safe on disk; 2 are on the server",
        "2 records wait, safe on disk; 3 are on the server",
    ]


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)


@pytest.mark.process
@pytest.mark.parametrize("key", [b"q", b"\x03"], ids=["q", "Ctrl-C"])
def test_in_a_terminal_q_and_ctrl_c_end_it_with_the_exit_code_of_status(
    tmp_path: Path, terminal: tuple[int, int], key: bytes
) -> None:
    ours, theirs = terminal
    environment = {
        **os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"), "TERM": "xterm", "WANDB_API_KEY": "x" * 40,
        "WANDB_BASE_URL": "http://127.0.0.1:9",
    }  # fmt: skip
    process = subprocess.Popen(
        [*launch.command(), "status", "--watch"], stdin=theirs, stdout=theirs,
        stderr=subprocess.PIPE, cwd=tmp_path, env=environment, start_new_session=True,
        preexec_fn=lambda: _make_controlling(theirs),
    )  # fmt: skip
    os.close(theirs)
    os.set_blocking(ours, False)
    shown = b""

    def on_screen() -> bool:
        nonlocal shown
        with suppress(BlockingIOError):
            shown += os.read(ours, 1 << 16)
        return b"q ends it" in shown

    until(on_screen, "the status is shown", 60.0)
    os.write(ours, key)
    assert process.wait(patience(60)) == Exit.OK
    assert process.stderr
    assert process.stderr.read() == b""
    process.stderr.close()


def _make_controlling(terminal: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

"""`view`: the local dashboard, without an account or network."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import click

from syncd.cli.common import Invocation, command
from syncd.destination.registry import connect_all, open_dashboard
from syncd.errors import Exit
from syncd.paths import destination_folder
from syncd.settings import Settings


@command(
    "view",
    to_stdout=True,
    quiet=True,
    exits={
        Exit.OK: "the dashboard was open until Ctrl-C",
        Exit.FAILED: "the dashboard does not start; the message says why",
        Exit.LOGIN: "what shows it is not installed: pip install 'karaoke-train[local]'",
    },
    examples=(
        ("karaoke-syncd view", "all runs in ./logs, in the browser, until Ctrl-C"),
        ("karaoke-syncd view baseline 'lr-*'", "these runs"),
        ("karaoke-syncd view --no_open --port 7860", "on a server, to be seen by `ssh -L`"),
    ),
)
@click.argument("runs", nargs=-1, metavar="[RUN|FILE]...")
@click.option("--no_open", is_flag=True, help="Print the address, and open no browser.")
@click.option(
    "--until_eof",
    is_flag=True,
    help="End when standard input does, so with the program that started this one.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="Instead of a free one.")
def view(
    call: Invocation, runs: Sequence[str], no_open: bool, until_eof: bool, port: int | None
) -> Exit:
    """Look at runs in a dashboard on this machine.

    RUN is a run's id or name, or a glob over these. Without one or a FILE: all runs in the log
    folders. They are kept in trackio's local store, and what is new follows while the dashboard is
    open. No account and no network; runs that are never to be uploaded are shown as well, since
    nothing leaves this machine.
    """
    from syncd.service.process import stop_signals
    from syncd.service.viewing import end_of_input, keep_uploading
    from syncd.sync import run_once

    local = replace(call.settings, destinations=("trackio",))
    ((settings, destination),) = connect_all(local)
    files = _files(
        runs, settings, destination_folder(settings.state_dir, destination.identity.address)
    )

    def upload() -> Exit:
        inputs = run_once.SyncInputs(tuple(files()), (), ())
        return run_once.sync(connect_all(local), inputs, call.console, everything=False)

    ended = end_of_input() if until_eof else threading.Event()
    code = upload()
    if code is Exit.LOGIN:
        return code
    # From before the address is printed, by which people and programs know that it runs
    with (
        open_dashboard(settings, _project(files(), settings), port) as address,
        stop_signals() as signals,
    ):
        how = "" if until_eof else "   (Ctrl-C ends it)"
        call.console.print(f"Dashboard: {address}{how}", soft_wrap=True)
        if not no_open and _has_browser():
            webbrowser.open(address)
        keep_uploading(settings, destination, files, lambda: signals.stop or ended.is_set())
    return upload()  # what came in the last moment


def _files(runs: Sequence[str], settings: Settings, state: Path) -> Callable[[], Sequence[Path]]:
    """The logs that are meant, whenever that is asked. Raises UsageError for what names none."""
    from syncd.report.chosen import chosen

    if runs:
        named = [file.path for file in chosen(runs, settings, state).files]
        return lambda: named
    return lambda: [file.path for file in chosen((), settings, state).files]


def _project(files: Sequence[Path], settings: Settings) -> str:
    """The project of the run that was written last; empty where there is none."""
    from syncd.source.scanner import LogFile, LogScanner

    for path in sorted(files, key=_written_at, reverse=True):
        if isinstance(file := LogScanner().look(path), LogFile):
            return settings.project or file.header.project
    return ""


def _written_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # it has just gone
        return 0.0


def _has_browser() -> bool:
    """Whether one can be opened beside this terminal: one that is drawn in it takes it over."""
    return sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))

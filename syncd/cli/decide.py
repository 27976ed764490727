"""`retry` and `forget`: what a person decides about a run."""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Console

from syncd.cli.common import add_command, login_of
from syncd.errors import Exit, UsageError
from syncd.settings import Settings


def add(commands: Any) -> None:
    """Add the commands."""
    for name, run, words in (
        ("retry", _retry, "take a run as it is now, and try at once"),
        ("forget", _forget, "leave a run alone for good"),
    ):
        command = add_command(commands, name, run, words)
        command.add_argument("runs", nargs="+", metavar="RUN", help="run id, as in `status --json`")


def _retry(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    return _decide(arguments, settings, console, "retry")


def _forget(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    return _decide(arguments, settings, console, "forget")


def _decide(arguments: argparse.Namespace, settings: Settings, console: Console, what: str) -> Exit:
    from syncd.report.status import collect, destination_folder
    from syncd.state import decisions, failures

    login = login_of(settings)
    destination = destination_folder(settings.state_dir, login.base_url)
    known = {run.run_id: run for run in collect(settings, login).runs}
    for run_id in arguments.runs:
        if run_id not in known:
            raise UsageError(
                f"no run {run_id!r} is known here",
                remedy="`karaoke-syncd status --json` lists the run ids; name its --log_dir",
            )
        failures.clear(destination, run_id)
        getattr(decisions, what)(destination, run_id)
        words = "is tried at once" if what == "retry" else "is left alone from now on"
        console.print(f"{known[run_id].name} ({run_id}) {words}", highlight=False)
    return Exit.OK

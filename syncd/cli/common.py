"""What the commands share: their flags, the login, the end of their help."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from syncd import logging_setup
from syncd.destination.wandb.credentials import Login, find_login
from syncd.errors import EXIT_HELP, Exit
from syncd.settings import LEVELS, Settings

Run = Callable[[argparse.Namespace, Settings, Console], Exit]

ALWAYS: Final = (Exit.OK, Exit.FAILED, Exit.USAGE, Exit.INTERRUPTED)


def add_command(
    commands: Any, name: str, run: Run, words: str, *, exits: Iterable[Exit] = ()
) -> argparse.ArgumentParser:
    """A subcommand with the flags that all have. exits: its exit codes beside `ALWAYS`."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=words,
        description=words[0].upper() + words[1:] + ".",
        epilog=exit_status({*ALWAYS, *exits}),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--log_dir", action="append", type=Path, metavar="DIR",
                         help="log folder, repeatable (default: logs)")  # fmt: skip
    command.add_argument("--project", help="upload to this project, not to the one a run names")
    command.add_argument("--entity", help="upload to this wandb user or team")
    command.add_argument("--log_level", choices=LEVELS, help="of what is said on stderr")
    command.set_defaults(run=run)
    return command


def exit_status(codes: Iterable[Exit]) -> str:
    """The part of a help that says what the exit codes mean."""
    rows = [f"  {int(code):<4} {EXIT_HELP[code]}" for code in sorted(codes)]
    return "\n".join(["exit status:", *rows])


def login_of(settings: Settings) -> Login:
    """The login in force; whatever is logged from now on has its key blotted out."""
    login = find_login(base_url=settings.base_url, entity=settings.entity)
    logging_setup.hide(login.key)
    return login

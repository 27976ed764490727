"""karaoke-syncd: arguments in, exit code out. One file a group of commands."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Final

from rich.console import Console

from syncd import logging_setup
from syncd import settings as settings_module
from syncd.cli import daemon, decide, doctor, service, upload, verify
from syncd.cli.common import Run, exit_status
from syncd.errors import Exit, SyncError, UsageError
from syncd.settings import Settings

_EPILOG: Final = """examples:
  karaoke-syncd service install --log_dir logs    upload from now on, and after every reboot
  karaoke-syncd start --log_dir logs              the same in this terminal, or --detach
  karaoke-syncd status                            is my data safe, what is left, what do I do
  karaoke-syncd sync                              upload once what is there, and stop

settings: $XDG_CONFIG_HOME/karaoke-syncd/config.toml, then KARAOKE_SYNCD_* in the environment,
then flags; the later wins. Server, account and key come from where wandb looks: WANDB_BASE_URL,
WANDB_ENTITY, WANDB_API_KEY, ~/.netrc (wandb login).

"""
_LEVELS: Final = {"sync": "error", "doctor": "error"}  # they say themselves what came of it
_TO_STDOUT: Final = frozenset({"status", "export", "watching", "service", "doctor", "verify"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; answers its exit code."""
    arguments = parser().parse_args(argv)
    console = Console(stderr=arguments.command not in _TO_STDOUT)
    try:
        settings = load_settings(arguments)
        logging_setup.set_up(
            arguments.log_level or _LEVELS.get(arguments.command, settings.log_level)
        )
        run: Run = arguments.run
        return int(run(arguments, settings, console))
    except UsageError as error:
        return _complain(error, arguments, Exit.USAGE)
    except SyncError as error:
        return _complain(error, arguments, Exit.FAILED)
    except BrokenPipeError:  # `… | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(Exit.OK)
    except OSError as error:  # a folder that takes no writes, a file that can't be read
        what = SyncError(error.strerror or str(error), where=str(error.filename or ""))
        return _complain(what, arguments, Exit.FAILED)
    except Exception as error:
        logging_setup.unexpected(error)
        return int(Exit.FAILED)
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="karaoke-syncd",
        description="Uploads record logs to wandb: every record once, none lost.",
        epilog=_EPILOG + exit_status(Exit),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for group in (daemon, service, upload, decide, verify, doctor):
        group.add(commands)
    return top


def load_settings(arguments: argparse.Namespace) -> Settings:
    """The settings in force for a command. Raises UsageError."""
    given = {key: getattr(arguments, key) for key in ("log_dir", "project", "entity", "log_level")}
    return settings_module.load(given)


def _complain(error: SyncError, arguments: argparse.Namespace, code: Exit) -> int:
    if getattr(arguments, "json", False):
        print(json.dumps({"exit_code": int(code), "exit": code.name.lower(), "error": str(error)}))
    print(f"karaoke-syncd: {error}", file=sys.stderr)
    return int(code)

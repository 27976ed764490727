"""karaoke-syncd: arguments in, exit code out. One file per group of commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import click

from karaoke_train.runlog.plain_text import as_it_can, keep_errors_apart
from syncd import logging_setup
from syncd.cli.common import COMPLETION_VARIABLE, CommandsOnUse, Group, print_error_json
from syncd.errors import Exit, SyncError, UsageError
from syncd.paths import NAME

# name -> the module below `syncd.cli` and what the command is called in it; in the help's order
_COMMANDS: Final = {
    "start": "daemon:start",
    "stop": "daemon:stop",
    "restart": "daemon:restart",
    "status": "daemon:status",
    "watching": "daemon:watching",
    "service": "service:service",
    "sync": "upload:sync",
    "view": "view:view",
    "plot": "plot:plot",
    "export": "upload:export",
    "import": "imports:import_",
    "verify": "verify:verify",
    "retry": "decide:retry",
    "forget": "decide:forget",
    "prune": "prune:prune",
    "doctor": "doctor:doctor",
    "completion": "completion:completion",
}

# What `service` leaves to systemd
_OF_SYSTEMD: Final = {
    "start": f"`{NAME} service install` starts it, now and after every login; one that was stopped "
    f"starts by `systemctl --user start {NAME}`. ",
    "stop": f"It stops by `systemctl --user stop {NAME}`, until the next login, and for good by "
    f"`{NAME} service uninstall`. ",
}

cli: Final = Group(
    name=NAME,
    commands=CommandsOnUse(_COMMANDS),
    help="""Upload record logs to wandb: every record once, none lost.

    Settings come from $XDG_CONFIG_HOME/karaoke-syncd/config.toml, then KARAOKE_SYNCD_* in the
    environment, then flags; the later wins. Server, account and key come from where wandb looks:
    WANDB_BASE_URL, WANDB_ENTITY, WANDB_API_KEY, ~/.netrc (wandb login).
    """,
    examples=(
        ("karaoke-syncd service install --log_dir logs", "upload from now on, also after a reboot"),
        ("karaoke-syncd start --log_dir logs", "the same in this terminal, or --detach"),
        ("karaoke-syncd status", "is my data safe, what is left, what do I do"),
        ("karaoke-syncd sync", "upload once what is there, and stop"),
    ),
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        # --log-dir is --log_dir
        "token_normalize_func": lambda word: word.replace("-", "_"),
    },
)
click.version_option(package_name="karaoke-train", message=f"{NAME} %(version)s")(cli)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    keep_errors_apart()
    as_it_can(sys.stdout)
    return _written(_run(words), words)


def _run(words: list[str]) -> int:
    try:
        # click's own main would end a broken pipe with code 1, and print its own kind of errors
        if asked := os.environ.get(COMPLETION_VARIABLE):
            from click.shell_completion import shell_complete

            return shell_complete(cli, {}, NAME, COMPLETION_VARIABLE, asked)
        with cli.make_context(NAME, words) as context:
            return int(cli.invoke(context) or Exit.OK)
    except click.exceptions.Exit as done:  # --help and --version
        return done.exit_code
    except click.UsageError as error:
        return _print_error(_in_our_words(error), words, Exit.USAGE)
    except UsageError as error:
        return _print_error(error, words, Exit.USAGE)
    except SyncError as error:
        return _print_error(error, words, Exit.FAILED)
    except BrokenPipeError:  # `… | head` has seen enough
        logging_setup.lead_nowhere(sys.stdout)
        return int(Exit.OK)
    except OSError as error:  # a folder that takes no writes, a file that can't be read
        what = SyncError(error.strerror or str(error), where=str(error.filename or ""))
        return _print_error(what, words, Exit.FAILED)
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)
    except Exception as error:
        logging_setup.unexpected(error)
        return int(Exit.FAILED)


def _written(code: int, words: Sequence[str]) -> int:
    """The exit code, once all that was printed is written."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except BrokenPipeError:
            logging_setup.lead_nowhere(stream)
        except OSError as error:  # a full disk, say
            logging_setup.lead_nowhere(stream)
            what = SyncError(error.strerror or str(error), where=stream.name)
            failed = _print_error(what, words, Exit.FAILED)
            code = code or failed
    return code


def _in_our_words(error: click.UsageError) -> UsageError:
    similar = getattr(error, "possibilities", None)  # of a command or an option
    meant = f"Did you mean {_one_of(similar)}? " if similar else ""
    asked = error.ctx.command_path if error.ctx else NAME
    what = error.message if similar else error.format_message()
    instead = _instead(error, asked)
    return UsageError(what, remedy=f"{instead or meant}See `{asked} --help`")


def _instead(error: click.UsageError, asked: str) -> str:
    """What does what was probably meant, where that is called by no similar name; else empty."""
    if asked == f"{NAME} status" and error.message.startswith("Got unexpected extra argument"):
        return f"For some runs alone: `{asked} --filter NAME`. "
    wanted = getattr(error, "command_name", "")  # of a NoSuchCommand
    return _OF_SYSTEMD.get(wanted, "") if asked == f"{NAME} service" else ""


def _one_of(names: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _print_error(error: SyncError, words: Sequence[str], code: Exit) -> int:
    with suppress(OSError):  # nobody reads it, or its disk is full
        if "--json" in words:
            print_error_json(error, code)
    with suppress(OSError):
        print(f"{NAME}: {error}", file=sys.stderr)
    return int(code)

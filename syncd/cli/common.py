"""What the commands share: their flags, the end of their help, what a command is called with."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from karaoke_train.runlog.plain_text import json_text
from syncd import logging_setup, paths, settings
from syncd.errors import Exit, SyncError, UsageError
from syncd.settings import DESTINATIONS, LEVELS, Settings

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from syncd.report.terminal import Terminal

Exits = Mapping[Exit, str]  # exit code -> what it means for this command
Examples = Sequence[tuple[str, str]]  # command line, what it is for

COMPLETION_VARIABLE: Final = "_KARAOKE_SYNCD_COMPLETE"  # set where a shell asks for completions

# What may happen to every command
_ALWAYS: Final[Exits] = {
    Exit.FAILED: "something else went wrong; the message says what",
    Exit.USAGE: "the command line or the settings are wrong",
    Exit.INTERRUPTED: "interrupted (Ctrl-C)",
}


@dataclass(frozen=True)
class Invocation:
    """What a command is called with, beside its own flags. stderr: where its console prints.
    reload: reads the settings again, and puts their log level in force."""

    settings: Settings
    stderr: bool
    reload: Callable[[], Settings]

    @cached_property
    def console(self) -> Terminal:
        """Where the command prints."""
        from syncd.report.terminal import Terminal

        return Terminal(stderr=self.stderr)


class Command(click.Command):
    """A command whose help ends with examples and what its exit codes mean."""

    def __init__(self, *, exits: Exits, examples: Examples = (), **how: Any) -> None:
        super().__init__(**how)
        self.exits: Exits = dict(sorted({**_ALWAYS, **exits}.items()))
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the end of the help."""
        write_examples(self.examples, formatter)
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), words) for code, words in self.exits.items()])


class CommandsOnUse(Mapping[str, click.Command]):
    """Commands by name, each imported when it is looked up: to import all of them takes longer than
    most commands do.

    places: name -> the module below `syncd.cli`, a colon, and the command's name in the module.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places

    def __getitem__(self, name: str) -> click.Command:
        module, _, own_name = self._places[name].partition(":")
        found: click.Command = getattr(import_module(f"syncd.cli.{module}"), own_name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class Group(click.Group):
    """Commands in the order in which they were added; without one of them, the help is printed.

    click itself would sort them by name, and end with the exit code of a mistake.
    """

    def __init__(self, *, examples: Examples = (), **how: Any) -> None:
        super().__init__(invoke_without_command=True, **how)
        self.callback = _print_help
        self.examples = examples

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the end of the help: which commands end with which codes."""
        write_examples(self.examples, formatter)
        with formatter.section("Exit codes"):
            formatter.write_dl(
                [(str(int(code)), words) for code, words in sorted(self._exits().items())]
            )

    def _exits(self) -> dict[Exit, str]:
        words = {
            Exit.OK: "it went as asked; what that means, each command's --help says",
            **_ALWAYS,
        }
        users: dict[Exit, list[str]] = {}
        for name, command in each_command(self).items():
            for code in getattr(command, "exits", {}).keys() - words.keys():
                users.setdefault(code, []).append(name)
        said = {code: f"{_spoken(code)}: see {', '.join(names)}" for code, names in users.items()}
        return words | said


def each_command(group: click.Group) -> dict[str, click.Command]:
    """The commands of a group, nested ones by their whole name."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        found[name] = command
        if isinstance(command, click.Group):
            found |= {f"{name} {deeper}": its for deeper, its in each_command(command).items()}
    return found


def command(
    name: str,
    *,
    exits: Exits,
    examples: Examples = (),
    to_stdout: bool = False,
    quiet: bool = False,
    daemon: bool = False,
    at_once: bool = False,
    any_settings: bool = False,
) -> Callable[[Callable[..., Exit]], Command]:
    """Makes a command of a function: its docstring is the help, an Invocation its first argument,
    the settings' flags are its own.

    to_stdout: what it prints is its result. quiet: it says itself what came of it, so log records
    below errors are left out unless --log_level wants them. daemon: it starts one, and so takes
    what only a daemon does. at_once: it takes a moment, in which no garbage is looked for.
    any_settings: it is of use where there is a mistake in them, which is said.
    """

    def make(run: Callable[..., Exit]) -> Command:
        def call(
            log_dir: tuple[Path, ...],
            recursive: bool | None,
            project: str | None,
            entity: str | None,
            log_level: str | None,
            destination: tuple[str, ...],
            **own: Any,
        ) -> Exit:
            flags: dict[str, Any] = {
                "log_dir": log_dir or None,
                "recursive": recursive,
                "project": project,
                "entity": entity,
                "log_level": log_level,
                "destinations": destination or None,
            }
            flags |= {name: own.pop(name) for name in (_OF_A_DAEMON if daemon else ())}

            def load() -> Settings:
                try:
                    fresh = settings.load(flags)
                except UsageError as error:
                    if not any_settings:
                        raise
                    print(f"karaoke-syncd: {error}", file=sys.stderr)
                    fresh = Settings(state_dir=paths.state_folder())
                logging_setup.set_up("error" if quiet and log_level is None else fresh.log_level)
                return fresh

            if not at_once:
                from syncd.destination.registry import take_network_from_env_file

                gc.enable()
                take_network_from_env_file()
            return run(Invocation(load(), not to_stdout, load), **own)

        own_flags = reversed(getattr(run, "__click_params__", []))
        return Command(
            name=name,
            callback=call,
            params=[*own_flags, *_setting_flags(), *(_daemon_flags() if daemon else ())],
            help=run.__doc__,
            exits=exits,
            examples=examples,
        )

    return make


def say(text: str) -> None:
    """Print a command's result. That whoever reads it has left, as `| head` does, is no failure."""
    try:
        print(text)
    except BrokenPipeError:
        logging_setup.lead_nowhere(sys.stdout)


def print_error_json(error: SyncError, code: Exit) -> None:
    """What --json prints where there is nothing but an error."""
    words = {"exit_code": int(code), "exit": code.name.lower(), "error": str(error)}
    say(json_text(words, indent=None))


_OF_A_DAEMON: Final = ("on_event", "silent_after")


def write_examples(examples: Examples, formatter: click.HelpFormatter) -> None:
    """The part of a help that shows how the command is used."""
    if examples:
        with formatter.section("Examples"):
            for line, meaning in examples:  # below each other: some are as wide as the page
                formatter.write_text(f"\b\n{line}\n    {meaning}")


def complete_folders(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Has the shell complete a folder's name."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="dir")]


class _Path(click.Path):
    """A path; the empty text is none. To Python it is the folder one is in, and a variable that is
    not set, as in `sync "$FILE"`, would have all of that uploaded."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("'' is no path; the folder that you are in is '.'", param, ctx)
        return super().convert(value, param, ctx)


# Whether it exists, and can be read, is the command's to say
PATH: Final = _Path(path_type=Path, readable=False)


def _setting_flags() -> list[click.Option]:
    return [
        click.Option(
            ["--log_dir"], multiple=True, type=PATH, metavar="DIR",
            shell_complete=complete_folders, help="Log folder, repeatable (default: logs).",
        ),
        click.Option(
            ["--recursive/--no_recursive"], default=None,
            help="Also the folders below these, and those that come later.",
        ),
        click.Option(
            ["-p", "--project"], help="Upload to this project, not to the one a run names."
        ),
        click.Option(
            ["--destination"], multiple=True, type=click.Choice(DESTINATIONS),
            help="Where records go, repeatable (default: wandb).",
        ),
        click.Option(["-e", "--entity"], help="Upload to this wandb user or team."),
        click.Option(
            ["--log_level"], type=click.Choice(LEVELS), help="Which log lines to write to stderr."
        ),
    ]  # fmt: skip


def _daemon_flags() -> list[click.Option]:
    return [
        click.Option(
            ["--on_event"], metavar="COMMAND",
            help="Run this with a JSON object on its standard input when a run ends, crashes or is "
            "silent, or an upload waits for you.",
        ),
        click.Option(
            ["--silent_after"], type=float, metavar="MINUTES",
            help="Without a record for so long, a run is silent (default: 30).",
        ),
    ]  # fmt: skip


def _spoken(code: Exit) -> str:
    return code.name.lower().replace("_", " ")


@click.pass_context
def _print_help(context: click.Context) -> None:
    if context.invoked_subcommand is None:
        click.echo(context.get_help())

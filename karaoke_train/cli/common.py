"""What the commands share: the end of their help, and what comes before torch."""

# mypy: allow-untyped-calls
# (transformers is typed in part only)

from __future__ import annotations

import importlib.util
import os
import select
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout, suppress
from typing import TYPE_CHECKING, Any, Final

import click

from karaoke_train.cli.flags import spelled_out
from karaoke_train.runlog import interrupts
from karaoke_train.runlog.interrupts import importing
from karaoke_train.runlog.plain_text import one_line, several_lines

if TYPE_CHECKING:
    from karaoke_train.inference.transcribe import VoiceToNotes

NAME: Final = "karaoke-train"
NEEDED: Final = (
    *("torch", "transformers", "accelerate", "numpy", "scipy", "soundfile", "mir_eval"),
    *("mido", "matplotlib", "tqdm"),
)

USAGE: Final = {2: "wrong usage"}
INTERRUPTED: Final = {interrupts.INTERRUPTED: "interrupted (Ctrl-C)"}

Examples = Sequence[tuple[str, str]]  # command line, what it is for
Exits = Mapping[int, str]  # exit code -> what it means for this command


class NotInstalled(ValueError):
    """This is a base install; the message says what training needs and how to get it."""


class Command(click.Command):
    """A command with its examples and exit codes in its help.

    abbreviations: whether a flag may be cut short as far as it stays the only one.
    """

    def __init__(
        self, *, exits: Exits, examples: Examples = (), abbreviations: bool = True, **how: Any
    ) -> None:
        super().__init__(**how)
        self.exits = exits
        self.examples = examples
        self.abbreviations = abbreviations

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words as click does, with the flags spelled out."""
        return super().parse_args(ctx, spelled_out(ctx, args, abbreviations=self.abbreviations))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the flags, section by section."""
        write_options(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the end of the help."""
        write_end(formatter, self.examples, self.exits)


class Group(click.Group):
    """Commands in the order in which they were added, with examples and exit codes in its help."""

    def __init__(self, *, exits: Exits, examples: Examples = (), **how: Any) -> None:
        super().__init__(**how)
        self.exits = exits
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words as click does, with the flags spelled out."""
        return super().parse_args(ctx, spelled_out(ctx, args, abbreviations=False))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return list(self.commands)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, then the flags, section by section."""
        self.format_commands(ctx, formatter)
        write_options(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the end of the help."""
        write_end(formatter, self.examples, self.exits)


def write_options(
    command: click.Command, ctx: click.Context, formatter: click.HelpFormatter
) -> None:
    """The part of a help that lists the flags, each under its section's heading."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
        if record is not None:
            sections.setdefault(getattr(param, "section", "Options"), []).append(record)
    for heading, records in sections.items():
        with formatter.section(heading):
            formatter.write_dl(records)


def write_end(formatter: click.HelpFormatter, examples: Examples, exits: Exits) -> None:
    """The part of a help that shows how the command is used, and what its exit codes mean."""
    if examples:
        with formatter.section("Examples"):
            for line, meaning in examples:  # below each other: some are as wide as the page
                formatter.write_text(f"\b\n{line}\n    {meaning}")
    with formatter.section("Exit codes"):
        formatter.write_dl([(str(code), meaning) for code, meaning in sorted(exits.items())])


def say(text: str) -> None:
    """Print a part of the result, names in it as text. Whoever reads may have left, as `| head`
    does: work that is still to be done, such as files to write, goes on."""
    try:
        print(several_lines(text), flush=True)
    except BrokenPipeError:
        stdout_has_no_reader()


def complain(text: str) -> None:
    """Print a line on standard error, with names of files and songs in it as text."""
    print(one_line(text), file=sys.stderr)


def stdout_has_no_reader() -> bool:
    """Whether nobody reads standard output any more; then it leads nowhere from here on.

    Python flushes it once more at exit, and would end with code 120 and a complaint. A flush
    doesn't tell: what a failed write was given is dropped at times, and then nothing is left.
    """
    try:
        standard = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # none, closed, or somebody's own object
        return False
    poll = select.poll()
    poll.register(standard, 0)
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        return False
    _lead_nowhere(standard)
    return True


def stdout_leads_nowhere() -> None:
    """From here on; for one that takes nothing more."""
    with suppress(AttributeError, OSError, ValueError):
        _lead_nowhere(sys.stdout.fileno())


def _lead_nowhere(standard: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, standard)
    os.close(nowhere)


def stdout_for_result(*, alone: bool) -> AbstractContextManager[object]:
    """While the result is made: what libraries print goes to standard error, if it must be alone.

    transformers prints "[INFO] Running in WANDB offline mode" when it is imported where
    WANDB_MODE is offline, and JSON with that line above it is none.
    """
    return redirect_stdout(sys.stderr) if alone else nullcontext()


def need_training() -> None:
    """Raises NotInstalled on a base install."""
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise NotInstalled(
            f"{', '.join(absent)} is not installed here, which training needs. Install it with: "
            "pip install 'karaoke-train[train]'"
        )


def before_torch(device: str, *, offline: bool = False) -> None:
    """Settings that libraries read once, when they are imported."""
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    # OpenMP's threads spin while they wait for each other. On two cores with one other busy
    # process that made --fast_dev take 156 s; sleeping instead, 52 s.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if device.startswith("cuda:"):
        os.environ["CUDA_VISIBLE_DEVICES"] = device.removeprefix("cuda:")


def load_model(model: str, device: str, encoder: str | None) -> VoiceToNotes:
    """A model by its name or folder, and where its Whisper is if it has none in it;
    `before_torch` comes first. Raises CheckpointError, DeviceError."""
    with importing():
        import transformers

        from karaoke_train.inference.transcribe import VoiceToNotes
        from karaoke_train.model.device import the_only

    transformers.utils.logging.disable_progress_bar()
    return VoiceToNotes.from_pretrained(model, the_only(device), encoder=encoder)

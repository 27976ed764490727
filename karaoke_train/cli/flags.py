"""How flags are written: what click does not do by itself, the types of values, shared flags."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from karaoke_train.settings import MODEL

N = TypeVar("N", int, float)

_NEGATIVE = re.compile(r"-\d+$|-\d*\.\d+$")


class Option(click.Option):
    """A flag. section: the heading that the help has it under. without_value: what it stands for
    where no value follows; None: one has to. In the help, brackets are around a value that may be
    left out, and nothing else."""

    def __init__(
        self,
        names: Sequence[str],
        *,
        section: str = "Options",
        without_value: str | None = None,
        **how: Any,
    ) -> None:
        if without_value is not None:
            how |= {"is_flag": False, "flag_value": without_value}
        if isinstance(choice := how.get("type"), click.Choice):  # click has brackets around them
            how |= {"metavar": "|".join(choice.choices)}
        super().__init__(names, **how)
        self.section = section
        self.without_value = without_value


def given(ctx: click.Context) -> dict[str, Any]:
    """The flags that stand on the command line, by their names, with their values."""
    on_line = click.core.ParameterSource.COMMANDLINE
    return {
        name: value
        for name, value in ctx.params.items()
        if ctx.get_parameter_source(name) is on_line
    }


def count(text: str) -> int:
    """A flag's whole number from 1."""
    return _number(text, int, lambda n: n >= 1, "a whole number from 1")


def whole(text: str) -> int:
    """A flag's whole number from 0."""
    return _number(text, int, lambda n: n >= 0, "a whole number from 0")


def seed(text: str) -> int:
    """A flag's seed, as numpy takes it."""
    return _number(text, int, lambda n: 0 <= n < 1 << 32, "a whole number from 0 to 4294967295")


def positive(text: str) -> float:
    """A flag's number over 0."""
    return _number(text, float, lambda x: 0 < x < math.inf, "a number over 0")


def not_negative(text: str) -> float:
    """A flag's number from 0."""
    return _number(text, float, lambda x: 0 <= x < math.inf, "a number from 0")


def seconds(text: str) -> float:
    """A flag's seconds, from 0."""
    return _number(text, float, lambda x: x >= 0, "a number of seconds")


def segment_seconds(text: str) -> float:
    """A flag's seconds, from 1 to the 30 that a Whisper encoder hears at once."""
    return _number(text, float, lambda x: 1 <= x <= 30, "a number of seconds from 1 to 30")


def _number(text: str, kind: type[N], right: Callable[[N], bool], wanted: str) -> N:
    value: N | None
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not right(value):
        raise click.BadParameter(f"{text!r} is not {wanted}")
    return value


class _Path(click.Path):
    """A path; the empty text is none. A variable that is not set, as in `--log_dir "$LOGS"`, would
    mean the folder one is in, and in `--resume "$RUN"` another run than the one that was meant."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(param, Option) and value == param.without_value:
            return value
        if not value:
            self.fail("'' is no path; the folder that you are in is '.'", param, ctx)
        return super().convert(value, param, ctx)


PATH: Final = _Path()  # whether it exists is the command's to say


def model_flag() -> Option:
    """Which model."""
    return Option(
        ["model", "--model", "--checkpoint"],
        default=MODEL,
        type=PATH,
        metavar="NAME_OR_DIR",
        shell_complete=folders,
        help=f"a model of this package, or a model's folder (default {MODEL})",
    )


def encoder_flag() -> Option:
    """Where a model's Whisper is."""
    return Option(
        ["--encoder"],
        type=PATH,
        metavar="NAME_OR_PATH",
        shell_complete=folders,
        help="the Whisper that a model without an encoder of its own belongs to: its folder on "
        "this machine (default: as the model names it; a name is looked for on the hub)",
    )


def device_flag(section: str = "Options") -> Option:
    """Where to compute."""
    return Option(
        ["--device"],
        default="auto",
        metavar="NAME",
        section=section,
        shell_complete=_devices,
        help="auto, cpu, cuda, cuda:N, mps (default auto)",
    )


def folders(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Has the shell complete a folder's name."""
    return [CompletionItem(incomplete, type="dir")]


def _devices(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    known = ("auto", "cpu", "cuda", "mps")
    return [CompletionItem(name) for name in known if name.startswith(incomplete)]


def spelled_out(ctx: click.Context, words: Sequence[str], *, abbreviations: bool) -> list[str]:
    """The words with every flag under the name that click knows: `--log-dir` is `--log_dir`.

    A flag that needs a value does not take the next flag for it, as click alone would: in
    `--run_name --offline` a name was forgotten, and the run would not be offline.
    """
    options = {
        name: param
        for param in ctx.command.get_params(ctx)
        if isinstance(param, click.Option)
        for name in param.opts
    }
    spelled: list[str] = []
    takes_value: click.Option | None = None
    for place, word in enumerate(words):
        if takes_value is not None:
            option, takes_value = takes_value, None
            if not _is_flag(word):
                spelled.append(word)
                continue
            if not _value_is_optional(option) and not ctx.resilient_parsing:
                raise click.BadOptionUsage(
                    option.opts[0], f"Option {option.opts[0]!r} requires an argument.", ctx
                )
        if word == "--" or (not _is_flag(word) and not ctx.allow_interspersed_args):
            return spelled + list(words[place:])  # arguments alone, or a command with its own
        flag, equals, value = word.partition("=")
        name = _name(ctx, flag, options, abbreviations)
        known = options.get(name)
        spelled.append(name + equals + value if known else word)
        if known is not None and not known.is_flag and not equals:
            takes_value = known
    return spelled


def _is_flag(word: str) -> bool:
    """As argparse decided it: what could be a negative number or a sentence is a value."""
    name = word.partition("=")[0]
    return word[:1] == "-" and word != "-" and " " not in name and not _NEGATIVE.match(word)


def _value_is_optional(option: click.Option) -> bool:
    return isinstance(option, Option) and option.without_value is not None


def _name(
    ctx: click.Context, flag: str, options: Mapping[str, click.Option], abbreviations: bool
) -> str:
    if not flag.startswith("--") or flag == "--":
        return flag
    name = f"--{flag[2:].replace('-', '_')}"
    if name in options or not abbreviations:
        return name
    starting = [other for other in options if other.startswith(name)]
    if len(starting) > 1 and not ctx.resilient_parsing:
        ctx.fail(f"{flag} could be {' or '.join(starting)}; write it out.")
    return starting[0] if starting else name

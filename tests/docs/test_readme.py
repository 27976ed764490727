"""README and the help tell the truth: every command, every option, every example."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from karaoke_train.cli import cli as train
from syncd.cli import cli as syncd
from tests.patience import patience

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
DOCS = README + "".join(path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md"))
OPTIONS = Path(__file__).with_name("options.txt")


@pytest.mark.process
def test_the_logging_example_runs_as_it_stands(tmp_path: Path) -> None:
    example = next(code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL)
                   if "RunLog.create" in code)  # fmt: skip
    subprocess.run([sys.executable, "-c", example], cwd=tmp_path, check=True, timeout=patience(60))
    (log,) = (tmp_path / "logs").glob("training_log_*.jsonl")
    assert log.read_bytes().count(b"\n") == 104


def commands(program: click.Command) -> dict[str, click.Command]:
    """The program's commands, nested ones by their whole name."""
    found: dict[str, click.Command] = {}
    for name, command in getattr(program, "commands", {}).items():
        found[name] = command
        found |= {f"{name} {deeper}": its for deeper, its in commands(command).items()}
    return found


def options(program: click.Command) -> list[str]:
    """The options as they are written, without those of its commands."""
    # with both names of the help option: click keeps the first one that it makes of a command
    context = click.Context(program, help_option_names=["-h", "--help"])
    return [
        word
        for parameter in program.get_params(context)
        if isinstance(parameter, click.Option)
        for word in (*parameter.opts, *parameter.secondary_opts)
    ]


PROGRAMS = {"karaoke-syncd": syncd, "karaoke-train": train}
COMMANDS = {f"{name} {deeper}": command for name, program in PROGRAMS.items()
            for deeper, command in commands(program).items()}  # fmt: skip


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_and_stands_in_the_docs(name: str) -> None:
    assert re.search(rf"\b{name}\b", DOCS)
    assert COMMANDS[name].help


def test_every_command_in_the_docs_exists() -> None:
    written = r"(?:^|`|\$ )(karaoke-(?:syncd|train) [a-z]+)\b"  # as code, not prose
    assert set(re.findall(written, DOCS, re.MULTILINE)) <= COMMANDS.keys()


def listed(program: click.Command, prefix: str) -> list[str]:
    return [
        f"{prefix} {name}".strip() + f": {word}"
        for name, command in {"": program, **commands(program)}.items()
        for word in options(command)
        if word.startswith("--")
    ]


def test_options_change_only_on_purpose() -> None:
    """Options are an interface: scripts use them. Edit options.txt together with the option."""
    now = listed(syncd, "karaoke-syncd") + listed(train, "karaoke-train")
    assert sorted(now) == OPTIONS.read_text("utf-8").splitlines()

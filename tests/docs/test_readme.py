"""README and the help tell the truth: every command, every option, every example."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from karaoke_train.cli import train_parser
from syncd.cli import cli as syncd

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
DOCS = README + "".join(path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md"))
OPTIONS = Path(__file__).with_name("options.txt")


def test_the_logging_example_runs_as_it_stands(tmp_path: Path) -> None:
    example = next(code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL)
                   if "RunLog.create" in code)  # fmt: skip
    subprocess.run([sys.executable, "-c", example], cwd=tmp_path, check=True, timeout=60)
    (log,) = (tmp_path / "logs").glob("training_log_*.jsonl")
    assert log.read_bytes().count(b"\n") == 104


Program = argparse.ArgumentParser | click.Command


def commands(program: Program) -> dict[str, Program]:
    """The program's commands, nested ones by their whole name."""
    found: dict[str, Program] = {}
    for name, command in _commands(program).items():
        found[name] = command
        found |= {f"{name} {deeper}": its for deeper, its in commands(command).items()}
    return found


def _commands(program: Program) -> dict[str, Program]:
    if isinstance(program, click.Command):
        return dict(program.commands) if isinstance(program, click.Group) else {}
    return {
        name: command
        for action in program._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, command in action.choices.items()
    }


def options(program: Program) -> list[str]:
    """The options as they are written, without those of its commands."""
    if isinstance(program, click.Command):
        parameters = program.get_params(click.Context(program))
        return [
            word
            for parameter in parameters
            if isinstance(parameter, click.Option)
            for word in (*parameter.opts, *parameter.secondary_opts)
        ]
    return [word for action in program._actions for word in action.option_strings]


@pytest.mark.parametrize("name", sorted(commands(syncd)))
def test_every_command_has_help_and_stands_in_the_docs(name: str) -> None:
    assert f"karaoke-syncd {name}" in DOCS
    command = commands(syncd)[name]
    assert isinstance(command, click.Command)
    assert command.help


def test_every_command_in_the_readme_exists() -> None:
    named = set(re.findall(r"karaoke-syncd ([a-z]+)", README))
    assert named <= set(commands(syncd))


def listed(program: Program, prefix: str) -> list[str]:
    return [
        f"{prefix} {name}".strip() + f": {word}"
        for name, command in {"": program, **commands(program)}.items()
        for word in options(command)
        if word.startswith("--")
    ]


def test_options_change_only_on_purpose() -> None:
    """Options are an interface: scripts use them. Edit options.txt together with the option."""
    now = listed(syncd, "karaoke-syncd") + listed(train_parser(), "karaoke-train")
    assert sorted(now) == OPTIONS.read_text("utf-8").splitlines()

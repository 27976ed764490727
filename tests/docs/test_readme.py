"""README and the help tell the truth: every command, every option, every example."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

from karaoke_train.cli import train_parser
from syncd.cli import parser as syncd_parser

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


def commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parser's commands, nested ones by their whole name."""
    found = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                found[name] = command
                found |= {f"{name} {deeper}": its for deeper, its in commands(command).items()}
    return found


@pytest.mark.parametrize("name", sorted(commands(syncd_parser())))
def test_every_command_has_help_and_stands_in_the_docs(name: str) -> None:
    assert f"karaoke-syncd {name}" in DOCS
    assert commands(syncd_parser())[name].description


def test_every_command_in_the_readme_exists() -> None:
    named = set(re.findall(r"karaoke-syncd ([a-z]+)", README))
    assert named <= set(commands(syncd_parser()))


def listed(parser: argparse.ArgumentParser, prefix: str) -> list[str]:
    lines = []
    for name, command in {"": parser, **commands(parser)}.items():
        words = [word for action in command._actions for word in action.option_strings]
        lines += [f"{prefix} {name}".strip() + f": {word}" for word in words if word[:2] == "--"]
    return lines


def test_options_change_only_on_purpose() -> None:
    """Options are an interface: scripts use them. Edit options.txt together with the option."""
    now = listed(syncd_parser(), "karaoke-syncd") + listed(train_parser(), "karaoke-train")
    assert sorted(now) == OPTIONS.read_text("utf-8").splitlines()

"""README and the help tell the truth: every command, every option, every example."""

from __future__ import annotations

import os
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


# What the examples leave to their reader
READERS_OWN = """
import os
from pathlib import Path
from karaoke_train import RunLog
{imports}
class trainer:
    add_callback = print
log = RunLog.create("mine", project="songs")
with RunLog.create("before", project="songs") as before:
    before.train(200, 0, {{"train/loss": 0.5}})
path, loss, step = before.path, 0.5, 1
Path("picture.png").write_bytes(b"")
"""
LOGS = {  # page -> what its examples need beyond, and how many record logs they write
    "README.md": ("from karaoke_train.callback import RunLogCallback", 2),
    "docs/trainers.md": (
        "from accelerate import Accelerator\nfrom lightning.pytorch import Trainer",
        2,
    ),
}


@pytest.mark.torch
@pytest.mark.process
@pytest.mark.parametrize("page", LOGS)
def test_the_examples_in_python_run_as_they_stand(page: str, tmp_path: Path) -> None:
    imports, logs = LOGS[page]
    examples = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([READERS_OWN.format(imports=imports), *examples])],
        cwd=tmp_path,
        env={**os.environ, "SLURM_JOB_ID": "4711"},
        stderr=subprocess.PIPE,
        text=True,
        timeout=patience(120),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    written = [path.read_bytes().count(b"\n") for path in (tmp_path / "logs").rglob("*.jsonl")]
    assert len(written) == logs
    assert page != "README.md" or 104 in written  # its own loop's, with config and end


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

"""Completion as a shell has it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from syncd.cli import main
from syncd.cli.completion import SHELLS
from syncd.errors import Exit
from tests.patience import patience

BASH = shutil.which("bash")


@pytest.mark.process
@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_a_script_that_asks_this_program(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == Exit.OK
    script = capsys.readouterr().out
    assert f"_KARAOKE_SYNCD_COMPLETE={shell}_complete" in script


def test_another_shell_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == Exit.USAGE
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err


@pytest.mark.process
@pytest.mark.skipif(BASH is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["karaoke-syncd", "ver"], ["verify"]),
        (["karaoke-syncd", "service", "re"], ["restart", "reload"]),
        (["karaoke-syncd", "status", "--lo"], ["--log_dir", "--log_level"]),
        (["karaoke-syncd", "start", "--log_level", "d"], ["debug"]),
    ],
)
def test_bash_completes(words: list[str], completed: list[str], tmp_path: Path) -> None:
    script = """
eval "$(karaoke-syncd completion bash)"
complete -p karaoke-syncd > /dev/null || exit 1
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_karaoke_syncd_completion karaoke-syncd
printf '%s\\n' "${COMPREPLY[@]}"
"""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [str(BASH), "--norc", "-c", script, "bash", *words], env={**os.environ, "PATH": path},
        cwd=tmp_path, capture_output=True, text=True, timeout=patience(60), check=True,
    )  # fmt: skip
    assert done.stdout.split() == completed

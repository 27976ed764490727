"""What is printed and can't be written: nobody reads it any more, or the disk is full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from syncd.errors import Exit
from tests.patience import patience
from tests.syncd.world import config_line, train_line

ROOT = Path(__file__).parents[3]


def run(folder: Path, *words: str, stdout: int, stderr: int = subprocess.PIPE) -> tuple[int, bytes]:
    """The exit code, and what was said on standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "syncd", *words],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=patience(60.0),
        check=False,
    )
    return done.returncode, done.stderr or b""


COMMANDS = [
    (["status"], Exit.NOT_RUNNING),
    (["status", "--json"], Exit.NOT_RUNNING),
    (["status", "--watch"], Exit.NOT_RUNNING),
    (["export", "logs/training_log_a.jsonl"], Exit.OK),
    (["watching"], Exit.NOT_RUNNING),
    (["import", "nowhere"], Exit.FAILED),
    (["nonsense"], Exit.USAGE),
]


@pytest.mark.process
@pytest.mark.parametrize(("words", "code"), COMMANDS)
def test_readers_that_have_left_are_no_failure_and_change_no_exit_code(
    home: Path, log: Path, words: list[str], code: Exit
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert run(home, *words, stdout=writing, stderr=writing)[0] == code
    finally:
        os.close(writing)


@pytest.mark.process
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no such device")
@pytest.mark.parametrize("form", ["json", "csv", "parquet"])
def test_a_result_that_a_full_disk_does_not_take_is_a_failure_that_is_said(
    home: Path, log: Path, form: str
) -> None:
    with Path("/dev/full").open("wb") as full:
        code, said = run(home, "export", str(log), "--format", form, stdout=full.fileno())
    assert code == Exit.FAILED
    assert said.endswith(b"No space left on device.\n")
    assert said.count(b"\n") == 1


@pytest.mark.process
@pytest.mark.parametrize(
    "words",
    [("-m", "syncd", "--version"), ("-m", "karaoke_train.cli", "--version"),
     ("-m", "syncd", "status", "--json"), ("-m", "karaoke_train.cli", "completion", "bash")],
)  # fmt: skip
def test_a_full_disk_under_the_output_is_said_in_words(words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            timeout=patience(60.0),
        )  # fmt: skip
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.process
def test_a_terminal_that_knows_ascii_alone_gets_what_it_has_a_character_for(tmp_path: Path) -> None:
    log = tmp_path / "training_log_a.jsonl"
    log.write_bytes(config_line(run_name="Stra\u00dfe") + train_line(1) + train_line(2))
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "syncd", "plot", str(log)], capture_output=True, text=True, env=env,
        check=False, timeout=patience(60.0),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()

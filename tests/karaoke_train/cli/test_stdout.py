"""Standard output: the result and nothing else, and no fault where nobody reads it any more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from karaoke_train import cli
from karaoke_train.cli import data, evaluate
from karaoke_train.cli.common import stdout_for_result
from tests.karaoke_train.conftest import PROGRAM
from tests.karaoke_train.files import CSV, text, wav
from tests.patience import patience

if TYPE_CHECKING:
    from pathlib import Path


def unread(*words: str, folder: Path, buffered: bool = True) -> tuple[int, str]:
    """Run with a standard output that nobody reads: the exit code, and what was complained of."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*PROGRAM, *words],
            stdout=writing,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1"},
            timeout=patience(60.0),
            check=False,
        )
    finally:
        os.close(writing)
    return done.returncode, done.stderr.decode()


@pytest.mark.process
@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["completion", "bash"], 0),
        (["data", "check", "songs"], 0),
        (["data", "check", "songs", "--json"], 0),
        (["data", "check", "nowhere"], 1),
    ],
)
def test_a_reader_that_has_left_is_no_fault_and_changes_no_exit_code(
    tmp_path: Path, words: list[str], code: int, buffered: bool
) -> None:
    wav(tmp_path / "songs" / "a.wav")
    text(tmp_path / "songs" / "a.csv", CSV)
    assert unread(*words, folder=tmp_path, buffered=buffered) == (code, "")


@pytest.mark.torch
def test_another_broken_pipe_is_still_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:  # as to a data worker that was killed
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(data, "read_songs", broken)
    with pytest.raises(BrokenPipeError):
        cli.main(["data", "check", "songs"])


@pytest.mark.torch
def test_json_is_alone_on_standard_output_whatever_libraries_print(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def chatty(*_: object) -> tuple[list[object], list[object]]:
        print("[INFO] Running in WANDB offline mode")
        return [], []

    monkeypatch.setattr(data, "read_songs", chatty)
    assert cli.main(["data", "check", str(tmp_path), "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out) == []
    assert "[INFO]" in said.err


@pytest.mark.torch
def test_evaluates_json_is_alone_as_well(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Scores:
        songs = ("one",)

        def as_json(self) -> dict[str, object]:
            return {"songs": 1, "problems": ["b.wav: is damaged"]}

    def chatty(*_: object) -> Scores:
        print("[INFO] Running in WANDB offline mode")
        return Scores()

    monkeypatch.setattr(evaluate, "_songs", lambda *_: (["one"], ["a.wav: has no labels"]))
    monkeypatch.setattr(evaluate, "_scored", chatty)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    words = ["evaluate", "songs", "--checkpoint", "x", "--device", "cpu", "--json"]
    assert cli.main(words) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {
        "songs": 1,
        "problems": ["a.wav: has no labels", "b.wav: is damaged"],
    }
    assert "[INFO]" in said.err


@pytest.mark.process
def test_transformers_prints_what_this_is_about(tmp_path: Path) -> None:
    """With the real library, so that the day it stops is seen."""
    script = "import transformers; transformers.Trainer"
    env = {**os.environ, "WANDB_MODE": "offline"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True
    )
    assert "WANDB offline" in done.stdout


def test_people_get_on_standard_output_what_libraries_say(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with stdout_for_result(alone=False):
        print("hello")
    assert capsys.readouterr().out == "hello\n"

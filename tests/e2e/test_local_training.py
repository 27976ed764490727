"""`karaoke-train --local` with nothing fake: the page is there while it trains, the store has every
record when it has ended, and neither outlives a training that is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.karaoke_train.runlog.files import lines_of
from tests.patience import patience, until
from tests.processes import alive, children
from tests.syncd.viewer import environment, needs_trackio

pytestmark = [needs_trackio, pytest.mark.torch, pytest.mark.timeout(patience(600))]
WORDS = ("--fast_dev", "--offline", "--synthetic", "6", "--max_samples", "8", "--batch_size", "2")
WORDS += ("--epochs", "500", "--patience", "500", "--workers", "1", "--local", "--no_open")


class Training:
    """A process that trains until it's told to end."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._said = home / "said"
        with self._said.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "karaoke_train.cli", *WORDS],
                env=environment(home), cwd=home, stdout=out, stderr=out,
            )  # fmt: skip

    def said(self) -> str:
        return self._said.read_text()

    def log(self) -> Path:
        (path,) = (self.home / "logs").glob("*.jsonl")
        return path

    def opened(self) -> tuple[str, int]:
        """The page's address, and the process that serves it, once training is in full course."""
        until(lambda: "view        http://" in self.said(), "the page is served", 150)
        until(lambda: len(lines_of(self.log())) > 20, "it trains", 150)
        (viewer,) = [
            pid
            for pid in children(self.process.pid)
            if b"--until_eof" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        return self.said().partition("view        ")[2].split()[0], viewer

    def left(self) -> int:
        """The records that the local store lacks."""
        done = subprocess.run(
            [sys.executable, "-m", "syncd", "status", "--json", "--destination", "trackio"],
            env=environment(self.home), cwd=self.home, capture_output=True, check=False,
        )  # fmt: skip
        return int(json.loads(done.stdout)["left"])


@pytest.fixture
def training(tmp_path: Path) -> Iterator[Training]:
    training = Training(tmp_path)
    yield training
    training.process.kill()
    training.process.wait()


def test_ctrl_c_ends_both_in_order(training: Training) -> None:
    address, viewer = training.opened()
    with urllib.request.urlopen(address, timeout=patience(30)) as page:
        assert b"<html" in page.read()
    training.process.send_signal(signal.SIGINT)
    assert training.process.wait(patience(90)) == 130, training.said()
    assert not alive(viewer)
    assert "view        everything is in the local store; to look again: " in training.said()
    assert training.left() == 0


def test_it_does_not_outlive_a_training_that_is_killed_beside_its_data_worker(
    training: Training,
) -> None:
    _, viewer = training.opened()
    training.process.kill()
    training.process.wait()
    until(lambda: not alive(viewer), "the dashboard ends")
    assert training.left() == 0

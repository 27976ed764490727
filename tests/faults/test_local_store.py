"""A process that is killed on the way to the local dashboard's store, at every point there is: the
next one goes on, and the store has every record once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from syncd.failpoints import VARIABLE
from tests.measured import MEASURED
from tests.patience import patience
from tests.syncd.world import config_line, end_line, train_line

# not by importing it, which would settle for this process where its store is
pytestmark = pytest.mark.skipif(find_spec("trackio") is None, reason="trackio is not installed")
ROOT: Final = Path(__file__).parents[2]
# each with the pass at which the process dies: in the middle of a run that is sent in six parts
POINTS: Final = (
    "open.before", "open.after", "read.before:2", "read.after:2", "send.before:2", "send.after:2",
    "confirm.before:2", "confirm.after:2", "close.before", "close.after",
)  # fmt: skip
LINES: Final = 60


class Home:
    """A user with a log, and karaoke-syncd for the local dashboard."""

    def __init__(self, folder: Path) -> None:
        self.order = folder / "failpoint"
        self.log = folder / "logs" / "training_log_a.jsonl"
        self.log.parent.mkdir()
        self.env = {
            **MEASURED, "HOME": str(folder), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT),
            "TRACKIO_DIR": str(folder / "store"), VARIABLE: str(self.order),
            "KARAOKE_SYNCD_DESTINATIONS": "trackio", "KARAOKE_SYNCD_BATCH": "10",
            "KARAOKE_SYNCD_CONFIRM_FIRST": "0.05",
        }  # fmt: skip

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "syncd", *arguments], env=self.env, cwd=self.log.parents[1],
            capture_output=True, text=True, timeout=patience(120), check=False,
        )  # fmt: skip


def test_wherever_it_is_killed_the_store_has_every_record_once(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.log.write_bytes(config_line())
    for number, point in enumerate(POINTS):
        with home.log.open("ab") as file:  # there is always something left to send
            file.writelines(train_line(number * LINES + step) for step in range(LINES))
            if number == len(POINTS) - 2:
                file.write(end_line())
        home.order.write_text(point)
        done = home.run("sync")
        assert done.returncode == -signal.SIGKILL, f"{point}: {done}"
        assert not home.order.exists()
    assert home.run("sync").returncode == 0
    done = home.run("verify", "--json")
    (found,) = json.loads(done.stdout)["runs"]
    assert (found["equal"], found["rows"]) == (True, 2 + LINES * len(POINTS))
    status = json.loads(home.run("status", "--json").stdout)
    assert [run["state"] for run in status["runs"]] == ["uploaded"]

"""The dashboard beside a training, against a fake karaoke-syncd: it may never delay or fail
training, and goes with it."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from karaoke_train.training import local_dashboard
from karaoke_train.training.local_dashboard import LocalDashboard
from tests.karaoke_train.runlog.files import python
from tests.patience import patience, until
from tests.processes import alive

FAKE = """#!{python}
import json, os, pathlib, sys, time
place = pathlib.Path({place!r})
command, *words = sys.argv[1:]
if command == "doctor":
    print((place / "doctor").read_text())
if command == "status":
    print(json.dumps({{"runs": [{{"path": {log!r}, "left": int((place / "left").read_text())}}]}}))
if command == "view":
    (place / "view").write_text(json.dumps({{"words": words, "pid": os.getpid()}}))
    if (place / "broken").exists():
        sys.exit("no port is free")
    print("uploading", flush=True)
    print("Dashboard: http://127.0.0.1:7860/?project=songs", flush=True)
    sys.stdin.read()
    if (place / "stuck").exists():
        time.sleep(600)
    (place / "left").write_text("0")
"""
TRAINING = """
from pathlib import Path
from karaoke_train.training import local_dashboard
program, log = sys.argv[1:]
local_dashboard.find_program = lambda: program
said = []
with local_dashboard.LocalDashboard(Path(log), open_browser=False, say=said.append):
    while not said:
        time.sleep(0.05)
    worker = os.fork()  # as torch starts those that load data
    if worker:
        print(worker, flush=True)
    time.sleep(600)
"""
STORE = {"check": "store", "level": "error", "what": "trackio is not there", "remedy": "pip it"}


class Fake:
    """A karaoke-syncd that does what its folder says."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.log = place / "logs" / "training_log_1.jsonl"
        self.log.parent.mkdir()
        self.program = place / "karaoke-syncd"
        script = FAKE.format(python=sys.executable, place=str(place), log=str(self.log))
        self.program.write_text(script)
        self.program.chmod(0o755)
        (place / "left").write_text("7")
        self.said: list[str] = []

    def dashboard(self) -> LocalDashboard:
        return LocalDashboard(self.log, open_browser=False, say=self.said.append)

    def viewed(self) -> dict[str, Any]:
        """How `view` was called."""
        return dict(json.loads((self.place / "view").read_text()))


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake(tmp_path)
    monkeypatch.setattr(local_dashboard, "find_program", lambda: str(fake.program))
    return fake


@pytest.mark.process
def test_its_address_is_said_and_at_the_end_that_all_is_there(fake: Fake) -> None:
    with fake.dashboard():
        until(lambda: fake.said, "the address")
        words = fake.viewed()["words"]
    assert words == ["--until_eof", "--no_open", "--log_dir", str(fake.log.parent)]
    assert fake.said[0] == "view        http://127.0.0.1:7860/?project=songs"
    again = f"karaoke-syncd view --log_dir {fake.log.parent}"
    assert fake.said[1:] == [
        f"view        everything is in the local store; to look again: {again}"
    ]


@pytest.mark.process
def test_a_training_that_fails_ends_it_in_the_same_way(fake: Fake) -> None:
    def training() -> None:
        with fake.dashboard():
            until(lambda: fake.said, "the address")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        training()
    assert "everything is in the local store" in fake.said[-1]


@pytest.mark.process
def test_it_runs_out_of_reach_of_ctrl_c_and_after_the_training(fake: Fake) -> None:
    with fake.dashboard() as dashboard:
        assert dashboard._process is not None
        assert os.getpgid(dashboard._process.pid) != os.getpgrp()
        assert os.getpriority(os.PRIO_PROCESS, dashboard._process.pid) > os.getpriority(
            os.PRIO_PROCESS, 0
        )


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_goes_with_a_training_that_is_killed_whoever_was_forked_from_it(
    fake: Fake, number: signal.Signals
) -> None:
    training = python(TRAINING, fake.program, fake.log)
    assert training.stdout
    worker = int(training.stdout.readline())
    viewer = fake.viewed()["pid"]
    try:
        training.send_signal(number)
        training.wait(patience(30))
        until(lambda: not alive(viewer), "the dashboard ends")
        assert alive(worker)
        assert (fake.place / "left").read_text() == "0"  # it was not killed: it ended in order
    finally:
        os.kill(worker, signal.SIGKILL)
        training.communicate()


@pytest.mark.process
def test_one_that_hangs_at_the_end_is_stopped_and_the_log_is_safe(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_dashboard, "LAST_WAIT", 0.2)
    (fake.place / "stuck").touch()
    with fake.dashboard() as dashboard:
        until(lambda: fake.said, "the address")
    assert dashboard._process is not None
    assert dashboard._process.returncode == -signal.SIGTERM
    assert "safe on disk, 7 records left; to look again: karaoke-syncd view" in fake.said[-1]


@pytest.mark.process
def test_one_that_ends_early_is_one_line_of_notice(fake: Fake) -> None:
    (fake.place / "broken").touch()
    with fake.dashboard():
        until(lambda: fake.said, "it is said")
    assert fake.said[0] == "view        the dashboard has ended, training goes on: no port is free"


@pytest.mark.process
def test_one_that_can_not_start_is_one_line_of_notice(fake: Fake) -> None:
    fake.program.write_text("#!/nowhere/python\n")
    with fake.dashboard():
        pass
    assert len(fake.said) == 1
    assert "could not be started" in fake.said[0]


@pytest.mark.process
@pytest.mark.parametrize(
    ("findings", "problem"),
    [
        ([STORE], "trackio is not there: pip it"),
        ([STORE | {"level": "ok"}], ""),
        ([], ""),  # no answer that is known: it shows when it starts
        (None, ""),
    ],
)
def test_what_is_wrong_with_the_store_is_known_before(
    findings: object, problem: str, fake: Fake
) -> None:
    (fake.place / "doctor").write_text(json.dumps({"findings": findings}))
    assert local_dashboard.problem(fake.log.parent) == problem


def test_without_the_program_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_dashboard, "find_program", lambda: None)
    assert "pip install 'karaoke-train[local]'" in local_dashboard.problem(Path("logs"))

"""`stop` and `restart` of daemons that go, that do not, and that are somebody else's; and offline
runs of wandb itself beside ours."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from syncd.cli import daemon as commands
from syncd.cli import main
from syncd.destination.wandb import offline_runs
from syncd.errors import Exit
from syncd.service import systemd
from syncd.state import lease
from tests.fakes.clock import FakeClock
from tests.patience import patience
from tests.service.sandbox import ROOT

HOLD = """
import signal, sys, time
from pathlib import Path
from syncd.state import lease
signal.signal(signal.SIGTERM, signal.SIG_IGN)
lock = lease.state_lock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def state(home: Path) -> Path:
    return home / "state" / "karaoke-syncd"


@pytest.fixture
def deaf(state: Path) -> Iterator[subprocess.Popen[str]]:
    """A daemon that ignores SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(state)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def ours(state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """This process as a daemon that no signal ends; the signals that it was sent."""
    sent: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append(number))
    clock = FakeClock()
    monkeypatch.setattr(commands, "time", SimpleNamespace(monotonic=clock, sleep=clock.advance))
    lock = lease.state_lock(state)
    lock.acquire()
    yield sent
    lock.release()


@pytest.mark.process
def test_a_daemon_that_does_not_stop_in_time_is_killed(
    deaf: subprocess.Popen[str], state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stop", "--timeout", "0.2"]) == Exit.OK
    assert deaf.wait(patience(10)) == -signal.SIGKILL
    assert "The daemon has stopped. What is not uploaded is safe on disk." in (
        capsys.readouterr().err
    )
    assert lease.daemon_of(state) is None


def test_a_daemon_that_outlives_even_that_is_named(
    ours: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stop"]) == Exit.FAILED
    assert ours == [signal.SIGTERM, signal.SIGKILL]
    assert f"Process {os.getpid()} does not stop" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["stop", "restart"])
def test_a_daemon_of_another_machine_is_stopped_there(
    command: str, ours: list[int], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    assert main([command]) == Exit.FAILED
    assert ours == []
    assert "stop it there" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["stop", "restart"])
@pytest.mark.parametrize("left", ["", "hello", '{"host": "h", "pid": -1, "since": "then"}'])
def test_a_daemon_that_its_lock_does_not_name_is_not_signalled_nor_taken_for_the_services(
    command: str, left: str, ours: list[int], state: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """As after a start on a full disk. Where no service runs, its process id is 0, too."""
    asked: list[str] = []
    monkeypatch.setattr(systemd, "ask", asked.append)
    (state / "daemon.lock").write_text(left)
    assert main([command]) == Exit.FAILED
    assert (ours, asked) == ([], [])
    said = " ".join(capsys.readouterr().err.split())
    assert f"which process it is can't be read in {state / 'daemon.lock'}" in said


def test_what_does_not_stop_is_not_started_again(
    ours: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr("syncd.service.launch.start_in_background", started.append)
    assert main(["restart"]) == Exit.FAILED
    assert started == []


# --- wandb's own offline runs


@pytest.fixture
def offline(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One offline run of wandb's own, beside an empty log folder; a `wandb` module that says yes
    to it, or no where its folder says so."""
    (home / "logs").mkdir()
    run = home / "wandb" / "offline-run-1"
    run.mkdir(parents=True)
    program = home / "site" / "wandb"
    program.mkdir(parents=True)
    (program / "__main__.py").write_text(
        "import pathlib, sys\n"
        "run = pathlib.Path(sys.argv[2])\n"
        "if (run / 'broken').exists(): sys.exit('no such project')\n"
        "(run / 'run-1.wandb.synced').write_text(' '.join(sys.argv[3:]))\n"
    )
    (program / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(home / "site"))
    monkeypatch.delenv("WANDB_DIR", raising=False)
    return run


def sync_offline(*words: str) -> int:
    return main(["sync", "--sync_wandb_offline", *words])


@pytest.mark.process
def test_offline_runs_are_handed_to_wandb_once(
    offline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sync_offline("-p", "mine", "--entity", "choir") == Exit.OK
    assert (offline / "run-1.wandb.synced").read_text() == "--project mine --entity choir"
    assert "offline-run-1: uploaded" in capsys.readouterr().err
    assert sync_offline() == Exit.OK
    assert "0 offline runs of wandb's own to be uploaded" in capsys.readouterr().err


@pytest.mark.process
@pytest.mark.parametrize("place", ["wandb", "wandb/offline-run-1", "."])
def test_offline_runs_that_are_named_are_not_passed_over_in_silence(
    offline: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sync", place]) == Exit.FAILED
    said = capsys.readouterr().err
    assert "1 offline run of wandb's own left" in said
    assert "karaoke-syncd sync --sync_wandb_offline" in said
    assert sync_offline(place, "-e", "choir") == Exit.OK
    assert (offline / "run-1.wandb.synced").read_text() == "--entity choir"
    assert main(["sync", place]) == Exit.OK


def test_of_several_places_those_that_are_named_are_looked_into(
    offline: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    assert sync_offline(str(tmp_path / "elsewhere")) == Exit.OK
    assert not (offline / "run-1.wandb.synced").exists()


@pytest.mark.process
def test_an_offline_run_that_wandb_refuses_is_said_with_its_words(
    offline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (offline / "broken").touch()
    assert sync_offline() == Exit.FAILED
    assert "offline-run-1: no such project" in capsys.readouterr().err
    assert offline_runs.offline_runs([offline.parent]) == [offline]

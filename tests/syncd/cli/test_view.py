"""`view` as it's called: a page on this machine, and what is written while it is open."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

from syncd.cli import main
from tests.measured import MEASURED
from tests.patience import patience, until
from tests.syncd.world import config_line, end_line, train_line

ROOT = Path(__file__).parents[3]
# not by importing it, which would settle for this process where its store is
needs_trackio = pytest.mark.skipif(find_spec("trackio") is None, reason="no trackio")


def test_without_trackio_it_says_what_to_install(
    log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("syncd.destination.trackio.store.installed", lambda: "")
    assert main(["view", "--no_open"]) == 5
    assert "pip install 'karaoke-train[local]'" in capsys.readouterr().out


@needs_trackio
def test_what_is_written_while_it_is_open_is_there_when_it_has_ended(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    first = logs / "training_log_a.jsonl"
    first.write_bytes(config_line(upload=False) + train_line(1))  # nothing leaves this machine
    env = {
        **MEASURED, "HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT),
        "TRACKIO_DIR": str(tmp_path / "store"), "PYTHONUNBUFFERED": "1",
        "KARAOKE_SYNCD_RESCAN": "0.2", "KARAOKE_SYNCD_CONFIRM_FIRST": "0.05",
    }  # fmt: skip
    said = tmp_path / "said"
    with said.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "syncd", "view", "--no_open"],
            env=env, cwd=tmp_path, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        until(lambda: "Dashboard: http://127.0.0.1:" in said.read_text(), said.name)
        address = said.read_text().partition("Dashboard: ")[2].split()[0]
        assert address.endswith("?project=songs")
        with urllib.request.urlopen(address, timeout=patience(30)) as page:
            assert b"<html" in page.read()
        with first.open("ab") as file:
            file.write(train_line(2) + end_line())
        (logs / "training_log_b.jsonl").write_bytes(config_line("run-2") + end_line())
        cursors = tmp_path / ".local/state/karaoke-syncd/servers"
        until(lambda: list(cursors.glob("*/cursors/run-2.json")), said.read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(patience(60)) == 0, said.read_text()
    finally:
        process.kill()
        process.wait()
    assert "All 6 records of 2 runs are in the local dashboard" in said.read_text()
    assert "Traceback" not in said.read_text()
    assert [line for line in said.read_text().splitlines() if line.isspace()] == []

"""Logs of a stranger, and a server that quotes the key: what each command prints is text."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from karaoke_train.runlog import secrets
from syncd.cli import main
from syncd.errors import ProblemCode, RunRefused
from syncd.paths import destination_folder, state_folder
from syncd.state import daemon_report, failures
from syncd.state.daemon_report import DaemonReport
from tests.syncd.cli.conftest import KEY, NOBODY
from tests.syncd.world import config_line, train_line

EVIL = "[/b]\x1b]0;owned\x07\x1b[2J\u202e[red]\nAll records are on the server"
STATUSES = (["status"], ["status", "--json"])
COMMANDS = (*STATUSES, ["sync"], ["doctor"], ["doctor", "--json"], ["verify"], ["verify", "--json"],
            ["forget", "evil"], ["retry", "evil"], ["forget", EVIL], ["plot", "evil"],
            ["plot"])  # fmt: skip


@pytest.fixture
def state(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two logs: one of hostile names, one whose own name is no text."""
    monkeypatch.setattr(secrets, "_hidden", ())
    logs = home / "logs"
    logs.mkdir()
    names: dict[str, Any] = {"run_name": EVIL, "project": EVIL, "group": EVIL}
    named = os.fsdecode(b"training_log_caf\xe9\x1b[2J\n.jsonl")
    (logs / named).write_bytes(config_line("evil", **names) + train_line(1))
    (logs / "training_log_b.jsonl").write_bytes(config_line("evil", **names) + train_line(1))
    return destination_folder(state_folder(), NOBODY)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_command_prints_what_a_terminal_obeys(
    state: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) in range(13)
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert [c for c in out + err if not c.isprintable() and c != "\n"] == []
    assert "All records are on the server" not in (out + err).splitlines()
    if "--json" in words:
        json.loads(out, parse_constant=pytest.fail)
        assert out.isascii()


@pytest.mark.parametrize("words", STATUSES, ids=" ".join)
def test_a_key_that_is_in_the_state_is_shown_by_nobody(
    state: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words_of_server = f"the key {KEY} is no good: https://me:hunter2@host"
    secrets.hide("another")  # written by a process that did not know the key
    log = Path("logs/training_log_b.jsonl")
    failures.save(state, "evil", log, RunRefused(ProblemCode.REFUSED, words_of_server))
    assert KEY in next((state / "problems").glob("*.json")).read_text()
    daemon_report.save(state_folder(), DaemonReport(server=NOBODY, words=words_of_server))
    main(words)
    out, err = capsys.readouterr()
    assert "is no good" in out
    assert KEY not in out + err
    assert "hunter2" not in out + err


def test_what_an_error_quotes_is_cut_before_it_is_kept(state: Path) -> None:
    secrets.hide(KEY)
    error = RunRefused(ProblemCode.REFUSED, f"the key {KEY} is no good")
    failures.save(state, "evil", Path("a.jsonl"), error)
    assert KEY not in next((state / "problems").glob("*.json")).read_text()

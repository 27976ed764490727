"""Files of our own that went bad: a warning, and everything goes on."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from karaoke_train.runlog.lock import Holder
from karaoke_train.runlog.reader import Line, Position
from syncd.cli import main
from syncd.destination.wandb.lanes import Lanes
from syncd.errors import ProblemCode, RunRefused
from syncd.paths import destination_folder, state_folder
from syncd.state import atomic_json, cursor, daemon_report, decisions, failures, quarantine, reached
from syncd.state.cursor import Cursor, Fingerprint
from syncd.state.daemon_report import DaemonReport
from tests.corpus import files, one_value_replaced
from tests.syncd.cli.conftest import NOBODY, home, log  # noqa: F401

NOW = datetime(2090, 1, 15, tzinfo=UTC)
RUN = "run-1"


def written(folder: Path) -> dict[Path, Callable[[], Any]]:
    """A state folder with one file of each kind -> how each is read."""
    place = Path("logs/training_log_a.jsonl")
    known = Cursor(RUN, "p", "e", str(place), Fingerprint("a", "b"), Position(1, 10))
    cursor.save(folder / "cursors", known)
    daemon_report.save(folder, DaemonReport(server=NOBODY, log_dir=("logs",)))
    failures.save(folder, RUN, place, RunRefused(ProblemCode.REFUSED, "no"))
    bad = Line(Position(0, 0), Position(1, 2), None, "not JSON", b"{")
    quarantine.BadLines(folder / "quarantine", RUN).add(place, [bad])
    reached.save(folder)
    decisions.assign_run_id(folder, "key", RUN)
    Lanes("auto", folder).leave("it counts others")
    return {
        folder / "cursors" / f"{RUN}.json": lambda: cursor.load_all(folder / "cursors"),
        folder / "daemon.json": lambda: _report(folder),
        folder / "problems" / f"{RUN}.json": lambda: failures.load_all(folder),
        folder / "quarantine" / f"{RUN}.json": lambda: quarantine.load(folder / "quarantine", RUN),
        folder / "reached.json": lambda: reached.load(folder, NOW),
        folder / "aliases" / "key.json": lambda: decisions.aliases(folder),
        folder / "lane.json": lambda: Lanes("auto", folder).words,
    }  # fmt: skip


def _report(folder: Path) -> DaemonReport:
    found = daemon_report.load(folder)
    daemon_report.silence(found, Holder("here", found.pid, NOW.isoformat()), NOW)
    return found


KINDS = range(7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("document", files("json"), ids=lambda path: path.stem)
def test_a_state_file_with_anything_in_it_is_named_and_counts_as_lost(
    tmp_path: Path, kind: int, document: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, read = list(written(tmp_path).items())[kind]
    assert read()
    path.unlink()
    lost = read()
    assert not caplog.records
    path.write_bytes(document.read_bytes())
    assert read() == lost
    assert str(path) in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_file_with_an_odd_value_in_it_is_read_or_lost(tmp_path: Path, kind: int) -> None:
    path, read = list(written(tmp_path).items())[kind]
    for document in one_value_replaced(orjson.loads(path.read_bytes())):
        path.write_text(json.dumps(document))
        read()


def test_a_cursor_of_odd_values_with_a_right_digest_is_read_or_lost(tmp_path: Path) -> None:
    written(tmp_path)
    path = tmp_path / "cursors" / f"{RUN}.json"
    for document in one_value_replaced(orjson.loads(path.read_bytes())):
        if isinstance(document, dict):
            document.pop("check", None)
            try:
                document["check"] = cursor._check(document)
            except TypeError:  # an integer that no state file of ours can hold
                continue
        path.write_text(json.dumps(document))
        found = cursor.load(path.parent, RUN)
        assert found is None or found.confirmed.offset >= 0


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize("document", files("json"), ids=lambda path: path.stem)
def test_every_command_goes_on_beside_state_that_went_bad(
    document: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    state = state_folder()
    place = destination_folder(state, NOBODY)
    for path in (*written(place), state / "daemon.json", state / "daemon.lock"):
        path.write_bytes(document.read_bytes())
    for words in ("status", "status --json", "doctor --json", "watching", f"retry {RUN}",
                  f"forget {RUN}", "stop", "verify", "sync"):  # fmt: skip
        main(words.split())
        assert "Traceback" not in capsys.readouterr().err
        assert all(record.levelno < logging.CRITICAL for record in caplog.records)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_named_and_counts_as_lost(
    tmp_path: Path, make: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path / "state.json")
    assert atomic_json.load(tmp_path / "state.json", lambda data: data) is None
    assert "can't be used" in caplog.text

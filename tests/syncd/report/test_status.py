"""Status from files alone, whatever is in them; the exit code; the stable schema."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from syncd.destination.wandb.credentials import Login
from syncd.destination.wandb.destination import WandbDestination
from syncd.errors import Connection, Exit, RunTrouble, Unreachable
from syncd.paths import destination_folder
from syncd.report.collect import collect
from syncd.report.status import (
    SCHEMA,
    RunState,
    RunStatus,
    Status,
    exit_code,
    to_json,
)
from syncd.source import tailer
from syncd.state import cursor, daemon_report, failures, lease, reached
from syncd.state.daemon_report import DaemonReport
from tests.fakes.uploads import IDENTITY, FakeServer
from tests.syncd.world import URL, World, end_line

if TYPE_CHECKING:
    from collections.abc import Iterator

STATUS = Status(
    running=True, daemon="process 1", server=URL, entity="team", project="", login="netrc",
    connectivity=Connection.ONLINE, connectivity_words="", connectivity_remedy="",
    log_dirs=("/logs",), state_dir="/state", runs=(),
)  # fmt: skip
ENDING = RunStatus("r", "n", "p", "/logs/a", RunState.ENDING, records=5, uploaded=5)
WAITS = RunStatus("r", "n", "p", "/logs/a", RunState.WAITING, records=5, uploaded=2, pending=3)
BLOCKED = WAITS._replace(state=RunState.BLOCKED, code="truncated")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.daemon.drop()


def says(here: World, **word: object) -> None:
    """What a daemon with the state folder would have said last."""
    folders = (str(here.logs), str(here.elsewhere))
    report = DaemonReport(
        server=URL, entity="team", log_dir=folders, connectivity=Connection.ONLINE
    )
    daemon_report.save(here.settings.state_dir, replace(report, **word))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (STATUS, Exit.OK),
        (replace(STATUS, running=False), Exit.OK),
        (replace(STATUS, connectivity=Connection.OFFLINE), Exit.OK),
        (replace(STATUS, runs=(WAITS,)), Exit.OK),
        (replace(STATUS, runs=(WAITS,), running=False), Exit.NOT_RUNNING),
        (replace(STATUS, runs=(WAITS,), connectivity=Connection.OFFLINE), Exit.OFFLINE),
        (replace(STATUS, runs=(WAITS,), connectivity=Connection.CAPTIVE), Exit.OFFLINE),
        (replace(STATUS, runs=(WAITS,), connectivity=Connection.TROUBLE), Exit.OFFLINE),
        (replace(STATUS, runs=(WAITS,), connectivity=Connection.REFUSED), Exit.LOGIN),
        (
            replace(STATUS, runs=(WAITS,), connectivity=Connection.NOT_LOGGED_IN, running=False),
            Exit.LOGIN,
        ),
        (replace(STATUS, runs=(ENDING,)), Exit.OK),
        (replace(STATUS, runs=(ENDING,), running=False), Exit.NOT_RUNNING),
        (replace(STATUS, runs=(ENDING,), connectivity=Connection.OFFLINE), Exit.OFFLINE),
        (replace(STATUS, silent=45.0), Exit.SILENT),
        (replace(STATUS, elsewhere="http://other"), Exit.OK),
        (replace(STATUS, elsewhere="http://other", runs=(WAITS,)), Exit.ELSEWHERE),
        (replace(STATUS, runs=(BLOCKED,)), Exit.DECISION),
        (replace(STATUS, runs=(WAITS, BLOCKED._replace(state=RunState.COPY))), Exit.DECISION),
        (
            replace(STATUS, runs=(WAITS._replace(state=RunState.LOCAL, pending=0),), running=False),
            Exit.OK,
        ),
    ],
)
def test_the_exit_code_says_whose_turn_it_is(status: Status, code: Exit) -> None:
    assert exit_code(status) is code


def test_the_json_keeps_its_keys() -> None:
    found = to_json(replace(STATUS, runs=(WAITS,)))
    assert {"schema", "exit_code", "exit", "left", "running", "daemon", "server", "entity",
            "project", "login", "reach", "reach_words", "reach_remedy", "log_dirs", "state_dir",
            "runs", "warnings", "origin"} <= set(found)  # fmt: skip
    assert {"run_id", "name", "project", "path", "state", "records", "uploaded", "left", "bad",
            "url", "problem", "meaning", "remedy", "code"} <= set(found["runs"][0])  # fmt: skip
    assert (found["schema"], found["exit"], found["left"]) == (SCHEMA, "ok", 3)


def test_records_are_counted_in_the_file_and_at_the_server(here: World) -> None:
    here.begin()
    here.train(4)
    here.run_on()
    here.daemon.drop()
    here.train(2)
    here.append(b"bad\n{torn")
    found = here.run_status()
    assert (found.records, found.uploaded, found.pending) == (8, 5, 3)
    assert (found.state, found.url) == ("waiting", f"{URL}/team/songs/runs/run-1")
    here.restart()
    here.run_on()
    found = here.run_status()
    assert (found.records, found.uploaded, found.pending, found.bad) == (8, 8, 0, 1)


def test_a_run_is_uploaded_once_its_end_was_told(here: World) -> None:
    here.begin()
    here.append(end_line())
    here.run_on()
    assert here.run_status().state == "uploaded"
    known = cursor.load(here.destination / "cursors", "run-1")
    assert known
    cursor.save(here.destination / "cursors", known._replace(ended=False))
    assert here.run_status().state == "ending"


def test_pressing_stop_on_the_page_is_noted(here: World) -> None:
    here.begin()
    here.train(1)
    here.server.stopped = True
    here.run_on()
    assert here.run_status().stopped
    assert any("pressed Stop on the page of" in warning for warning in here.status().warnings)


def test_a_run_kept_local_has_nothing_left(here: World) -> None:
    here.begin(upload=False)
    found = here.run_status()
    assert (found.state, found.pending, found.records) == ("local", 0, 1)


def test_trouble_of_a_run_is_told_while_it_waits(here: World) -> None:
    here.begin()
    failures.save(here.destination, "run-1", here.path, RunTrouble("the SDK died", remedy="wait"))
    found = here.run_status()
    assert (found.problem, found.remedy, found.code) == ("the SDK died", "wait", "trouble")
    here.append(end_line())
    here.run_on()
    assert here.run_status().problem == ""


def test_what_is_uploaded_to_another_project_is_not_here(here: World) -> None:
    here.begin()
    here.run_on()
    here.settings = replace(here.settings, project="other")
    assert here.run_status().uploaded == 0


def test_what_another_account_has_is_not_here(here: World) -> None:
    here.begin()
    here.append(end_line())
    here.run_on()
    other = FakeServer(replace(IDENTITY, entity="somebody-else"))
    (run,) = collect(here.settings, other).runs
    assert (run.state, run.uploaded, run.pending) == ("waiting", 0, 2)


def test_what_is_uploaded_to_another_server_is_not_here(here: World) -> None:
    here.begin()
    here.run_on()
    found = collect(here.settings, FakeServer(replace(IDENTITY, address="http://other")))
    assert [(run.uploaded, run.pending) for run in found.runs] == [(0, 1)]


def test_the_daemons_word_counts_while_it_lives_and_serves_this_server(here: World) -> None:
    says(here, connectivity=Connection.OFFLINE, words="no network")
    assert (here.status().running, here.status().connectivity) == (False, "unknown")
    lock = lease.state_lock(here.settings.state_dir)
    lock.acquire()
    try:
        assert (here.status().running, here.status().connectivity_words) == (True, "no network")
        says(here, server="http://other")
        found = here.status()
        assert found.connectivity == "unknown"
        assert "the daemon uploads to http://other, this shell would to" in found.warnings[0]
        says(here, log_dir=())
        assert "is not watched by the daemon" in here.status().warnings[0]
        says(here, log_dir=tuple(str(one.parent) for one in here.settings.log_dir), recursive=True)
        assert here.status().warnings == ()
    finally:
        lock.release()


def test_after_an_upload_the_server_was_reached_then(here: World) -> None:
    assert here.status().connectivity_words == "no upload has reached it yet"
    here.begin()
    here.run_on()
    assert re.fullmatch(r"reached \d+ s ago", here.status().connectivity_words)


def test_after_a_try_that_failed_it_is_said_when_that_was_and_why(here: World) -> None:
    last = r"; the last try, \d+ s ago, failed: 127\.0\.0\.1:9 can't be reached"
    here.server.down = Unreachable("127.0.0.1:9 can't be reached")
    here.tick()
    words = here.status().connectivity_words
    assert re.fullmatch(f"no upload has reached it yet{last}", words)
    here.server.down = None
    here.tick(600)
    assert re.fullmatch(r"reached \d+ s ago", here.status().connectivity_words)
    here.server.down = Unreachable("127.0.0.1:9 can't be reached")
    here.tick(600)
    assert re.fullmatch(rf"reached \d+ s ago{last}", here.status().connectivity_words)


def test_what_is_no_note_of_tries_says_nothing(here: World) -> None:
    for data in (b'{"at": 5}', b'{"failed_at": "yesterday", "why": "x"}', b"[]", b""):
        (here.destination / reached.NAME).parent.mkdir(parents=True, exist_ok=True)
        (here.destination / reached.NAME).write_bytes(data)
        assert here.status().connectivity_words == "no upload has reached it yet"


def test_a_daemon_that_reports_no_more_is_called_silent(here: World) -> None:
    lock = lease.state_lock(here.settings.state_dir)
    lock.acquire()
    try:
        says(here)
        assert here.status().silent == 0.0
        path = here.settings.state_dir / daemon_report.NAME
        word = orjson.loads(path.read_bytes())
        past = datetime.now(UTC) - timedelta(seconds=90)
        word["ticks"] -= 90
        path.write_bytes(orjson.dumps({**word, "updated": past.isoformat()}))
        assert here.status().silent == pytest.approx(90, abs=20)
        assert exit_code(here.status()) is Exit.SILENT
        # one of a version that did not tell by which clock
        del word["ticks"]
        path.write_bytes(orjson.dumps({**word, "updated": past.isoformat()}))
        assert here.status().silent == pytest.approx(90, abs=20)
        # a daemon that has just begun has its predecessor's report there
        path.write_bytes(orjson.dumps({**word, "updated": past.isoformat(), "pid": 1}))
        assert here.status().silent == 0.0
    finally:
        lock.release()


def test_a_daemon_of_another_account_is_elsewhere(here: World) -> None:
    lock = lease.state_lock(here.settings.state_dir)
    lock.acquire()
    try:
        says(here, entity="others")
        mine = replace(IDENTITY, entity="team")
        found = collect(here.settings, FakeServer(mine))
        assert found.elsewhere == f"{URL} as others"
        assert f"the daemon uploads to {URL} as others, this shell would to" in found.warnings[0]
    finally:
        lock.release()


def test_nobody_logged_in_is_said_with_the_command(here: World) -> None:
    found = collect(here.settings, WandbDestination(Login(URL, "")))
    assert (found.connectivity, found.connectivity_words) == (
        "not_logged_in",
        "nobody is logged in",
    )
    assert f"wandb login --host {URL}" in found.connectivity_remedy


def test_a_folder_that_is_not_there_yet_is_named(here: World) -> None:
    here.elsewhere.rmdir()
    assert f"{here.elsewhere} does not exist yet" in here.status().warnings[0]


SIDEWAYS = b'{"server": "http://127.0.0.1:9", "connectivity": "sideways"}'


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'"x"', b'{"server": 1, "log_dir": 7}', SIDEWAYS]
)
def test_a_damaged_word_of_the_daemon_is_none(here: World, data: bytes) -> None:
    from syncd.report.page import Page
    from syncd.report.render import render

    lock = lease.state_lock(here.settings.state_dir)
    lock.acquire()
    try:
        (here.settings.state_dir / "daemon.json").write_bytes(data)
        found = here.status()
        assert found.running
        render(found, Page(80))
    finally:
        lock.release()


def test_one_servers_state_is_in_one_folder_with_a_tame_name(tmp_path: Path) -> None:
    assert destination_folder(tmp_path, "https://wandb.lab:8080/x").name == "wandb.lab_8080"
    assert destination_folder(tmp_path, "https://ü:1").name == "__1"
    assert destination_folder(tmp_path, "https://user:password@wandb.lab").name == "wandb.lab"
    assert asdict(STATUS)["runs"] == ()


def test_an_end_that_cannot_be_told_stays_said_while_it_is_tried_again(here: World) -> None:
    here.begin()
    here.append(end_line())
    here.server.faults = ["close"] * 3
    said: set[str] = set()
    for _ in range(40):
        here.tick(5.0)
        here.server.deliver()
        if here.server.faults.count("close") in (1, 2):  # it has failed, and is tried again
            said.add(here.run_status().problem)
    assert said == {"the close was not answered"}
    assert here.server.faults == []
    here.run_on()
    assert (here.run_status().problem, here.run_status().state) == ("", "uploaded")


def test_trouble_with_the_lines_is_over_when_more_of_them_are_confirmed(here: World) -> None:
    here.begin()
    here.run_on()
    failures.save(here.destination, "run-1", here.path, RunTrouble("no answer"), "sending")
    here.tick()
    assert here.run_status().problem == "no answer"
    here.train(1)
    here.run_on()
    assert here.run_status().problem == ""


@pytest.mark.parametrize("upload", [True, False])
def test_status_that_looks_again_reads_what_is_new_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upload: bool
) -> None:
    here, read = World(tmp_path), []
    copy = here.begin(name="training_log_copy.jsonl", upload=upload)
    here.begin(upload=upload)
    here.train(50)
    count_lines = tailer.count_lines

    def counted(path: Path, offset: int) -> tuple[int, int]:
        read.append(path.stat().st_size - offset)
        return count_lines(path, offset)

    monkeypatch.setattr(tailer, "count_lines", counted)
    counts = tailer.Counts()
    for more in range(20):
        runs = {run.path: run for run in collect(here.settings, here.server, counts).runs}
        assert (runs[str(here.path)].records, runs[str(copy)].records) == (51 + more, 1)
        here.train(1)
    assert sum(read) < 2 * here.path.stat().st_size

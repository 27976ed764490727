"""`verify` of runs that are on the way, and of runs that the server lost the end of."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from syncd.cli import main
from syncd.cli.verify import _render, _say, _say_counts, _to_json, _verified
from syncd.destination.base import RemoteRun, RunRef
from syncd.destination.comparison import Comparison
from syncd.errors import Connection, Exit, Refused, RunTrouble, Unreachable, UploadError
from syncd.report.page import Page
from syncd.state import cursor, daemon_report, lease
from syncd.state.daemon_report import DaemonReport
from syncd.sync.loop import KEPT
from tests.fakes.unreadable import unreadable
from tests.syncd.world import World, end_line


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.daemon.drop()


def verified(here: World) -> tuple[Exit, str]:
    """Its exit code, and what it says last."""
    found = _verified([], here.settings, here.server, repair=False)
    page = Page(80)
    _render(found, page)
    return found.code, str(page).splitlines()[-1]


def test_what_merely_waits_is_no_difference(here: World) -> None:
    here.begin()
    here.train(3)
    assert verified(here) == (Exit.OK, "1 run is on the way: 0 of 4 records")
    here.run_on()
    assert verified(here) == (Exit.OK, "1 of 1 run is on the server as it is here: 4 records")
    here.train(6)
    assert verified(here) == (Exit.OK, "1 run is on the way: 4 of 10 records")


def test_what_was_confirmed_and_is_not_there_is_missing(here: World) -> None:
    here.begin()
    here.train(3)
    here.run_on()
    here.train(2)
    here.server.lose("run-1", keep=2)
    found = _verified([], here.settings, here.server, repair=False)
    assert found.code is Exit.DIFFERENT
    ((_, run),) = found.compared
    assert (run.missing, run.missing_at, run.waiting) == (2, [2, 3], 2)


def test_an_end_that_the_server_does_not_show_is_missing(here: World) -> None:
    here.begin()
    here.append(end_line())
    here.run_on()
    assert verified(here)[0] is Exit.OK
    here.server.runs["run-1"].shown = "running"
    found = _verified([], here.settings, here.server, repair=False)
    page = Page(80)
    _render(found, page)
    assert found.code is Exit.DIFFERENT
    assert "how it ended is not shown on the server: it is running there" in str(page)
    here.train(1)  # it goes on
    assert verified(here)[0] is Exit.OK


def test_an_end_that_was_told_again_beside_a_daemon_is_looked_at_by_it(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was done with the run, and a late post may come again."""
    here.begin()
    here.append(end_line())
    here.run_on()
    here.tick(2 * KEPT)
    here.daemon.rescan()
    here.tick()
    assert here.daemon.runs == {}
    monkeypatch.setattr("syncd.cli.verify.connect", lambda settings: here.server)
    monkeypatch.setattr("syncd.sync.run_once.sync", lambda *_, **__: Exit.OK)
    here.server.runs["run-1"].shown = "running"
    assert _verified([], here.settings, here.server, repair=True).code is Exit.DIFFERENT
    here.server.runs["run-1"].shown = ""
    for _ in range(9):
        here.tick(5)
    known = cursor.load(here.destination / "cursors", "run-1")
    assert known
    assert known.unsettled > 0.0
    assert here.daemon.runs["run-1"].look_at < math.inf


@pytest.mark.parametrize("error", [RunTrouble("an odd name"), FileNotFoundError(2, "gone")])
def test_a_run_that_cannot_be_compared_keeps_no_other_from_it(
    here: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    here.begin("odd", "training_log_odd.jsonl")
    here.begin()
    here.train(3)
    here.run_on()
    really = here.server.remote_run

    def remote_run(run: RunRef) -> RemoteRun | None:
        if run.run_id == "odd":
            raise error
        return really(run)

    monkeypatch.setattr(here.server, "remote_run", remote_run)
    last = "1 of 2 runs are on the server as they are here: 4 records"
    assert verified(here) == (Exit.FAILED, last)
    found = _verified([], here.settings, here.server, repair=False)
    (told,) = _to_json([found], found.code)["not_compared"]
    assert (told["run_id"], told["destination"]) == ("odd", here.server.identity.kind)
    here.server.lose("run-1", keep=2)
    assert verified(here)[0] is Exit.DIFFERENT


LOGIN = Refused("not yours", kind=Connection.REFUSED, remedy="Ask for it")
SILENT = Unreachable("it does not answer")
BUSY = Unreachable("it is busy", retry_after=7.0)
LONG = Unreachable("it is busy", retry_after=3600.0)


@dataclass(frozen=True)
class Asked:
    """What each question about the second of four runs fails for, how often, and what all others
    fail for since; and what `verify` says then."""

    error: UploadError
    code: Exit
    equal: int
    words: str = ""
    times: float = math.inf
    down: UploadError | None = None
    waits: int = 0


ASKED = {
    "no answer to one run's": Asked(SILENT, Exit.FAILED, 3, "it does not answer"),
    "one run's project is closed": Asked(LOGIN, Exit.FAILED, 3, "not yours"),
    "trouble of one run's": Asked(RunTrouble("odd"), Exit.FAILED, 3, "odd"),
    "no answer any more": Asked(
        SILENT, Exit.OFFLINE, 1, "3 runs were not compared: it does not answer", down=SILENT
    ),
    "logged out meanwhile": Asked(
        SILENT, Exit.LOGIN, 1, "3 runs were not compared: not yours", down=LOGIN
    ),
    "asked too often": Asked(BUSY, Exit.OK, 4, times=2, waits=2),
    "asked too often, always": Asked(BUSY, Exit.FAILED, 3, "it is busy", waits=2),
    "to be asked in an hour": Asked(LONG, Exit.FAILED, 3, "it is busy"),
}


@pytest.mark.parametrize("case", ASKED)
def test_what_keeps_one_run_from_being_compared_keeps_no_other(
    here: World, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    asked, left, waits = ASKED[case], ASKED[case].times, list[float]()
    for number in range(1, 5):
        here.begin(f"r{number}", f"training_log_{number}.jsonl")
    here.run_on()
    really = here.server.remote_run

    def remote_run(run: RunRef) -> RemoteRun | None:
        nonlocal left
        if run.run_id == "r2" and left:
            left -= 1
            here.server.down = asked.down
            raise asked.error
        return really(run)

    monkeypatch.setattr(here.server, "remote_run", remote_run)
    monkeypatch.setattr(here.server, "pause", waits.append)
    found = _verified([], here.settings, here.server, repair=False)
    assert (found.code, len(waits)) == (asked.code, asked.waits)
    assert sum(result.equal for _, result in found.compared) == asked.equal
    told = _to_json([found], found.code)["not_compared"]
    assert len(told) == 4 - asked.equal
    page = Page(200)
    _say([found], page)
    assert asked.words in str(page)
    assert "Nothing to do" not in str(page) + str(told)
    assert f"{asked.equal} of 4 runs are on the server as they are here" in str(page)


def test_a_server_that_costs_each_run_its_whole_time_is_not_waited_for_by_hundreds(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        here.begin(f"r{number}", f"training_log_{number}.jsonl")
    here.run_on()
    monkeypatch.setattr("syncd.report.verify._LONG", 0.0)
    asked = list[str]()

    def remote_run(run: RunRef) -> RemoteRun | None:
        asked.append(run.run_id)
        raise SILENT

    monkeypatch.setattr(here.server, "remote_run", remote_run)
    found = _verified([], here.settings, here.server, repair=False)
    assert (found.code, len(found.failed), len(found.left)) == (Exit.OFFLINE, 3, 3)
    assert found.error
    assert "was waited for in vain for 3 runs in a row" in found.error.what
    assert len(asked) == 3


def test_what_cannot_be_looked_at_is_not_compared_and_said(here: World, tmp_path: Path) -> None:
    here.begin()
    here.run_on()
    with unreadable(here.elsewhere):
        found = _verified([], here.settings, here.server, repair=False)
    assert found.code is Exit.FAILED
    assert len(found.compared) == 1
    (told,) = _to_json([found], found.code)["not_compared"]
    assert told["path"] == str(here.elsewhere)
    assert "can't be read" in told["error"]


def test_a_file_that_cannot_be_read_is_one_that_is_not_compared(here: World) -> None:
    path = here.begin()
    for wanted in ([], [str(path)]):
        with unreadable(path):
            found = _verified(wanted, here.settings, here.server, repair=False)
        assert found.code is Exit.FAILED
        assert [error.where for error in found.unusable] == [str(path)]


def test_a_log_folder_that_is_not_there_is_not_one_whose_runs_are_fine(here: World) -> None:
    here.elsewhere.rmdir()
    assert verified(here) == (Exit.FAILED, "There are no runs to compare")


def table(here: World, *results: Comparison) -> list[str]:
    """The table's lines of a terminal of 80 columns."""
    here.begin(run_name="a-name-that-is-too-long-for-it")
    (file,) = _verified([], here.settings, here.server, repair=False).compared
    page = Page(80)
    _say_counts([(file[0], result) for result in results], page)
    return str(page).splitlines()


def test_of_what_is_wrong_the_table_has_what_is_there(here: World) -> None:
    heading, equal, less = table(here, Comparison(5, 5), Comparison(5, 4, missing=1))
    assert heading.split() == ["run", "records", "server", "missing"]
    assert equal.split()[1:] == ["5", "5", "0", "equal"]
    assert less.split()[1:] == ["5", "4", "1", "different"]


def test_no_heading_is_cut_whatever_is_wrong(here: World) -> None:
    everything = Comparison(
        123_456, 123_456, missing=1, waiting=1, duplicate=1, extra=1, different=1
    )
    waits = Comparison(5, 4, waiting=1)
    lines = table(here, everything, waits)
    assert lines[0].split() == [
        "run", "records", "server", "missing", "twice", "extra", "differ", "waiting",
    ]  # fmt: skip
    assert max(map(len, lines)) <= 80
    assert lines[2].rstrip().endswith("equal so far")


def test_nothing_is_promised_to_programs_either(
    home: Path, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "--json", "--log_dir", str(log.parent)]) == Exit.OFFLINE
    found = json.loads(capsys.readouterr().out)
    assert found["exit"] == "offline"
    assert found["error"].endswith("The records are safe on disk. Run karaoke-syncd verify again.")


def test_what_no_flag_says_is_as_the_daemon_has_it_and_is_said(
    home: Path, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = home / "state" / "karaoke-syncd"
    lock = lease.state_lock(state)
    lock.acquire()
    try:
        report = DaemonReport(log_dir=("/watched", "/too"), project="songs")
        daemon_report.save(state, report)
        assert main(["verify"]) == Exit.OFFLINE
        said = capsys.readouterr().out
        assert "Folders  /watched, /too (set by the running daemon)\n" in said
        assert "Project  songs (set by the running daemon)\n" in said
        assert main(["verify", "--log_dir", str(log.parent), "--project", "mine"]) == Exit.OFFLINE
        assert "set by" not in capsys.readouterr().out
    finally:
        lock.release()

"""Which events of the watcher are worth a look at all folders: a folder may hold thousands of files
on a slow disk, and each line that any of them gets is an event."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncd.destination.base import Account
from syncd.source import folder_tree, scanner
from syncd.source.scanner import FoundFile, LogScanner
from syncd.state import cursor, decisions
from syncd.sync.catalog import WHOLE_EVERY
from syncd.sync.loop import KEPT
from tests.syncd.world import World, config_line, end_line, train_line

EVENTS = 20  # as a writer's steps cause them


class Scans:
    """Looks at all folders, counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        scan = LogScanner.scan

        def counted(scanner: LogScanner, *how: object) -> object:
            self.count += 1
            return scan(scanner, *how)  # type: ignore[arg-type]

        monkeypatch.setattr(LogScanner, "scan", counted)


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> Scans:
    return Scans(monkeypatch)


@pytest.fixture
def here(tmp_path: Path, scans: Scans) -> Iterator[World]:
    """A run that is uploaded, and its daemon, between two of its regular looks."""
    made = World(tmp_path)
    made.begin()
    made.train(3)
    made.run_on()
    yield made
    made.daemon.drop()


def its_own(here: World) -> Path:
    return here.path


def a_copy(here: World) -> Path:
    return Path(shutil.copy(here.path, here.logs / "training_log_copy.jsonl"))


def forgotten(here: World) -> Path:
    decisions.forget(here.destination, "left")
    return here.begin("left", "training_log_left.jsonl")


def kept_local(here: World) -> Path:
    return here.begin("local", "training_log_local.jsonl", upload=False)


def scans_for_events_of(here: World, scans: Scans, path: Path) -> int:
    """How many looks at all folders come of a file that grows and grows, no time passing."""
    before = scans.count
    for step in range(EVENTS):
        here.append(b'{"type":"train","step":%d}\n' % step, path)
        here.daemon.file_changed(path)
        here.tick(0)
    return scans.count - before


@pytest.mark.parametrize("make", [its_own, a_copy, forgotten, kept_local])
def test_a_file_that_changes_no_listing_costs_no_look_at_all_folders(
    here: World, scans: Scans, make: Callable[[World], Path]
) -> None:
    path = make(here)
    here.intact = path == here.path  # a copy that grows is another file
    here.tick(here.settings.rescan)  # it is known now
    assert scans_for_events_of(here, scans, path) == 0


def test_a_run_that_is_new_costs_one_look_and_its_further_lines_none(
    here: World, scans: Scans
) -> None:
    path = here.begin("run-2", "training_log_b.jsonl")
    assert scans_for_events_of(here, scans, path) == 1
    assert "run-2" in here.daemon.runs


def test_a_file_without_a_whole_first_line_is_looked_for_until_it_has_one(
    here: World, scans: Scans
) -> None:
    path = here.logs / "training_log_b.jsonl"
    path.write_bytes(config_line("run-2").rstrip(b"\n"))
    here.daemon.file_changed(path)
    here.tick(0)
    assert "run-2" not in here.daemon.runs
    here.append(b"\n", path)
    here.daemon.file_changed(path)
    here.tick(0)
    assert "run-2" in here.daemon.runs


def test_no_event_makes_an_upload_of_named_files_look_at_folders(
    tmp_path: Path, scans: Scans
) -> None:
    here = World(tmp_path, files=[tmp_path / "logs" / "training_log_20240115_143022.jsonl"])
    here.begin()
    here.run_on()
    other = here.begin("run-2", "training_log_b.jsonl")
    assert scans_for_events_of(here, scans, other) == 0
    assert scans.count == 0
    assert list(here.daemon.runs) == ["run-1"]
    here.daemon.drop()


def test_a_run_without_a_project_stays_in_its_own_when_its_file_moves(here: World) -> None:
    path = here.begin("other", "training_log_other.jsonl", project=None)
    here.tick(60)
    here.run_on()
    first = here.server.runs["other"].target.project
    assert first == here.run_status("other").project == here.logs.parent.name
    moved = path.rename(here.elsewhere / path.name)
    here.append(train_line(7), moved)
    here.restart()
    here.run_on()
    here.whole("other")
    assert here.server.runs["other"].target.project == first
    shown = here.run_status("other")
    assert (shown.path, shown.project, shown.pending) == (str(moved), first, 0)


@pytest.fixture
def ended(tmp_path: Path) -> Iterator[World]:
    """A run that is uploaded and has ended, and a daemon that has looked at it twice."""
    made = World(tmp_path)
    made.begin()
    made.train(3)
    made.append(end_line())
    made.run_on()
    for _ in range(3):
        made.tick(made.settings.rescan)
    yield made
    made.daemon.drop()


def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are looked at from now on."""
    seen: list[Path] = []
    look = LogScanner.look

    def noted(scanner: LogScanner, path: Path, *, chosen: bool = False) -> FoundFile:
        seen.append(path)
        return look(scanner, path, chosen=chosen)

    monkeypatch.setattr(LogScanner, "look", noted)
    return seen


def test_finished_runs_are_not_looked_at_while_nothing_comes_or_goes(
    ended: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = ended.begin("live", "training_log_live.jsonl")
    for _ in range(3):
        ended.tick(ended.settings.rescan)
    seen = looked_at(monkeypatch)
    for _ in range(WHOLE_EVERY - 4):
        ended.tick(ended.settings.rescan)
    assert set(seen) == {live}


def test_a_finished_run_that_goes_on_without_an_event_is_found_in_time(ended: World) -> None:
    ended.train(2)
    for _ in range(WHOLE_EVERY + 1):
        ended.tick(ended.settings.rescan)
        ended.server.deliver()
    ended.run_on()
    ended.whole()


def test_what_comes_goes_or_is_renamed_is_seen_at_the_next_look(ended: World) -> None:
    new = ended.begin("new", "training_log_new.jsonl")
    ended.tick(ended.settings.rescan)
    assert "new" in ended.daemon.runs
    moved = new.rename(ended.elsewhere / new.name)
    ended.tick(ended.settings.rescan)
    assert ended.daemon.sessions["new"].path == moved
    moved.write_bytes(config_line("other"))
    ended.tick(ended.settings.rescan)
    assert "other" in ended.daemon.runs


def test_a_change_within_the_same_tick_of_the_folders_clock_is_seen_at_the_next_look(
    ended: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_tree, "_sign", lambda folder, link: None)
    ended.tick(ended.settings.rescan)  # a change is seen, and with it the folders' new time
    ended.begin("new", "training_log_new.jsonl")
    ended.tick(ended.settings.rescan)
    assert "new" in ended.daemon.runs


def test_a_file_that_becomes_readable_is_seen_at_the_next_look(
    ended: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ended.begin("shy", "training_log_shy.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(scanner, "first_line", unreadable)
        for _ in range(3):
            ended.tick(ended.settings.rescan)
        assert [file.path for file in ended.daemon.skipped_files] == [path]
    ended.tick(ended.settings.rescan)
    assert "shy" in ended.daemon.runs
    assert ended.daemon.skipped_files == ()


def unreadable(path: Path, **how: object) -> bytes:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def test_a_live_runs_file_that_is_gone_costs_no_look_at_the_others(
    here: World, scans: Scans
) -> None:
    here.begin("gone", "training_log_gone.jsonl")
    here.tick(here.settings.rescan)
    here.daemon.sessions["gone"].path.unlink()
    for _ in range(3):
        here.tick(here.settings.rescan)
    before = scans.count
    for _ in range(WHOLE_EVERY - 4):
        here.tick(here.settings.rescan)
    assert scans.count == before


class TestOnceARunHasEnded:
    """It is kept as little more than a name: after a restart, and by a daemon that lives on."""

    @pytest.fixture(autouse=True, params=["restarted", "lived on"])
    def let_go(self, ended: World, request: pytest.FixtureRequest) -> None:
        if request.param == "restarted":
            ended.restart()
        else:
            ended.tick(KEPT + 1)
            ended.daemon.rescan()
        ended.tick()

    def test_no_session_is_made_for_a_finished_run(self, ended: World) -> None:
        assert ended.daemon.finished == {"run-1": str(ended.path)}
        assert ended.daemon.runs == ended.daemon.sessions == {}
        ended.whole()

    def test_one_that_goes_on_is_uploaded_further(self, ended: World) -> None:
        ended.train(2)
        ended.daemon.file_changed(ended.path)
        ended.run_on()
        assert ended.daemon.finished == {}
        ended.whole()

    def test_an_event_that_brings_nothing_costs_no_look_at_all_folders(
        self, ended: World, scans: Scans
    ) -> None:
        before = scans.count
        for _ in range(3):
            ended.path.touch()
            ended.daemon.file_changed(ended.path)
            ended.tick(0)
        assert scans.count == before
        assert ended.daemon.runs == {}

    def test_a_retry_asks_the_server_whatever_was_known(self, ended: World) -> None:
        ended.server.runs["run-1"].rows.clear()
        ended.intact = False
        ended.retry()
        ended.run_on()
        assert ended.daemon.finished == {}
        ended.whole()

    def test_one_that_moved_is_still_finished(self, ended: World) -> None:
        ended.path = ended.path.rename(ended.elsewhere / ended.path.name)
        ended.tick(ended.settings.rescan)
        assert ended.daemon.finished == {"run-1": str(ended.path)}

    def test_a_copy_of_one_is_a_copy(self, ended: World) -> None:
        copy = Path(shutil.copy(ended.path, ended.logs / "training_log_copy.jsonl"))
        ended.tick(ended.settings.rescan)
        assert [file.path for file in ended.daemon.skipped_files] == [copy]
        assert ended.daemon.runs == {}

    def test_what_another_account_has_is_asked_of_it(
        self, ended: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ended.server, "account", lambda: Account("other"))
        ended.restart()
        ended.run_on()
        ended.run_on(seconds=60)
        assert ended.daemon.finished == {}
        assert ended.server.asked[-1].entity == "other"


def test_a_run_that_has_just_ended_keeps_its_session_for_whoever_asks_how(ended: World) -> None:
    ended.daemon.rescan()
    ended.tick(KEPT / 2)
    assert set(ended.daemon.sessions) == {"run-1"}
    assert ended.daemon.finished == {}


def test_a_daemon_that_lives_long_keeps_no_session_of_what_has_ended(here: World) -> None:
    for number in range(20):
        path = here.begin(f"run-{number}", f"training_log_{number}.jsonl")
        here.train(2, path)
        here.append(end_line(), path)
        here.run_on(seconds=KEPT)
        assert len(here.daemon.sessions) <= 3, number
    assert here.daemon._story._arrives <= here.daemon.runs.keys()


def test_an_ended_run_of_which_the_cursor_is_lost_keeps_its_session(ended: World) -> None:
    cursor.remove(ended.destination / "cursors", "run-1")
    ended.daemon.rescan()
    ended.tick(KEPT + 1)
    assert set(ended.daemon.sessions) == {"run-1"}


def test_a_first_line_that_grows_costs_one_look_at_all_folders(here: World, scans: Scans) -> None:
    path = here.logs / "training_log_b.jsonl"
    path.write_bytes(b"{")
    here.daemon.file_changed(path)
    here.tick(0)
    before = scans.count
    for _ in range(3):
        here.append(b'"a":1,', path)
        here.daemon.file_changed(path)
        here.tick(0)
    assert scans.count == before


# --- folders below the log folders


@pytest.fixture
def below(tmp_path: Path, scans: Scans) -> Iterator[World]:
    """A world that looks into the folders below its log folders."""
    made = World(tmp_path, recursive=True)
    yield made
    made.daemon.drop()


def in_folder(world: World, name: str, run_id: str) -> Path:
    """A run's log in a folder of its own, as hydra makes them."""
    (world.logs / name).mkdir(parents=True)
    return world.begin(run_id, f"{name}/training_log_a.jsonl")


def test_runs_in_folders_that_come_are_uploaded(below: World) -> None:
    first = in_folder(below, "2024-01-15/14-30-22", "a")
    below.append(train_line(1) + end_line(), first)
    below.run_on()
    later = in_folder(below, "2024-01-15/15-00-00", "b")
    below.append(end_line(), later)
    below.tick(below.settings.rescan)
    below.run_on()
    assert {run_id: len(run.rows) for run_id, run in below.server.runs.items()} == {"a": 3, "b": 2}
    found = {run.run_id: run.path for run in below.status().runs}
    assert found == {"a": str(first), "b": str(later)}


def test_without_the_flag_folders_below_are_left_alone(here: World) -> None:
    in_folder(here, "deep", "a")
    here.run_on()
    assert set(here.daemon.runs) == {"run-1"}


def test_a_folder_that_is_removed_leaves_the_others(below: World) -> None:
    gone, stays = in_folder(below, "x", "a"), in_folder(below, "y", "b")
    below.run_on()
    below.intact = False
    shutil.rmtree(gone.parent)
    below.append(end_line(), stays)
    for _ in range(3):
        below.tick(below.settings.rescan)
        below.server.deliver()
    assert len(below.server.runs["b"].rows) == 2
    assert {run.run_id: str(run.state) for run in below.status().runs} == {
        "a": "missing",
        "b": "uploaded",
    }


def test_what_is_written_in_folders_that_are_left_out_costs_no_look(
    below: World, scans: Scans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_tree, "MOST", 3)
    in_folder(below, "a", "a")
    too_many = in_folder(below, "b", "b")
    for _ in range(2):
        below.tick(below.settings.rescan)
    before = scans.count
    for _ in range(EVENTS):
        below.append(train_line(1), too_many)
        below.daemon.file_changed(too_many)
        below.tick(0.0)
    assert scans.count == before
    assert any("not looked into" in warning for warning in below.status().warnings)
    assert set(below.daemon.runs) == {"a"}


def test_runs_below_that_nobody_looks_into_are_named_where_there_are_no_others(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    in_folder(world, "a", "a")
    assert any("--recursive takes them in" in warning for warning in world.status().warnings)
    world.begin()
    assert not any("--recursive" in warning for warning in world.status().warnings)

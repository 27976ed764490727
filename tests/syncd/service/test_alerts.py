"""The daemon's runs and what is told of them, by their files and locks."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from karaoke_train.runlog.layout import lock_path
from karaoke_train.runlog.lock import Lock
from syncd.destination.base import Identity
from syncd.errors import Connection, Refused, Unreachable
from syncd.service import alerts
from syncd.service.alerts import Alerting, Alerts
from tests.fakes.uploads import FakeServer
from tests.syncd.world import World, end_line

LOCAL = Identity("trackio", "file:///store", "local")


class Told:
    """A daemon over real files, and what is told of it."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.events: list[dict[str, Any]] = []
        self.alerts = self.start()

    def start(self) -> Alerts:
        self.alerts = Alerts(
            replace(self.world.settings, silent_after=30.0),
            self.world.server,
            self.events.append,
            self.world.clock,
        )
        return self.alerts

    def after(self, seconds: float) -> list[str]:
        """What is told in so many seconds."""
        before = len(self.events)
        for _ in range(3):
            self.world.tick(seconds / 3)
            self.world.server.deliver()
            self.alerts.look(self.world.daemon)
        return [str(event["event"]) for event in self.events[before:]]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def writing(path: Path) -> Lock:
    """A trainer holds the run."""
    lock = Lock(lock_path(path))
    lock.acquire()
    return lock


def test_a_run_that_ends_is_told_with_what_a_person_needs(told: Told) -> None:
    assert told.after(30) == []
    path = told.world.begin()
    lock = writing(path)
    told.world.train(3)
    assert told.after(30) == []
    told.world.append(end_line("failed", 2))
    lock.release()
    assert told.after(30) == ["run_ended"]
    event = told.events[-1]
    assert (event["run_id"], event["run_name"], event["status"]) == (
        "run-1", "name of run-1", "failed",
    )  # fmt: skip
    assert event["path"] == str(path)
    assert event["destination"] == "wandb"
    assert event["url"].endswith("/songs/runs/run-1")
    assert "has ended: failed" in event["words"]
    assert told.after(3600) == []


def test_a_crash_is_told_while_the_server_is_down(told: Told) -> None:
    told.world.server.down = Unreachable("no network")
    told.after(10)
    lock = writing(told.world.begin())
    told.world.train(1)
    assert told.after(30) == []
    lock.release()
    assert told.after(90) == []
    assert told.after(300) == ["run_crashed"]
    assert told.after(3600) == []


def test_a_quiet_run_is_told_while_its_writer_lives(told: Told) -> None:
    told.after(10)
    lock = writing(told.world.begin())
    assert told.after(25 * 60) == []
    assert told.after(20 * 60) == ["run_silent"]
    lock.release()


def test_a_quiet_run_whose_lock_is_removed_has_not_crashed(told: Told) -> None:
    told.after(10)
    path = told.world.begin()
    lock = writing(path)
    assert told.after(25 * 60) == []
    shutil.rmtree(path.parent / ".locks")
    told.world.tick(10)
    told.alerts.look(told.world.daemon)
    assert told.events == []
    lock.release()
    lock = writing(path)
    assert told.after(20) == []
    lock.release()
    assert told.after(20) == ["run_crashed"]


def test_a_training_that_hangs_is_silent_though_its_machine_is_logged(told: Told) -> None:
    told.after(10)
    lock = writing(told.world.begin())
    for _ in range(3):
        told.world.append(b'{"type":"system","system/cpu_percent":1.0}\n')
        assert told.after(9 * 60) == []
    told.world.append(b'{"type":"system","system/cpu_percent":1.0}\n')
    assert told.after(9 * 60) == ["run_silent"]
    told.world.train(1)
    assert told.after(9 * 60) == []
    lock.release()


def test_a_run_that_waits_for_a_person_is_told(told: Told) -> None:
    told.after(10)
    lock = writing(told.world.begin())
    told.world.server.deleted.add("run-1")
    assert told.after(60) == ["upload_blocked"]
    assert "the run was deleted at the server" in told.events[-1]["words"]
    assert told.after(600) == []
    lock.release()


def test_a_login_that_is_refused_is_told_for_all_runs(told: Told) -> None:
    lock = writing(told.world.begin())
    told.after(10)
    told.world.server.down = Refused("no key", kind=Connection.NOT_LOGGED_IN, remedy="log in")
    assert told.after(600) == ["upload_blocked"]
    assert "run_id" not in told.events[-1]
    assert told.after(300) == []
    told.world.server.down = None
    assert told.after(300) == []
    lock.release()


@pytest.mark.process
def test_of_two_destinations_each_tells_of_its_uploads_and_one_of_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, str]] = []

    class Command:
        def __init__(self, command: str) -> None:
            """Nothing is started."""

        def tell(self, event: dict[str, Any]) -> None:
            events.append((str(event["event"]), event["destination"]))

    monkeypatch.setattr(alerts, "EventCommand", Command)
    first, second = worlds = [World(tmp_path), World(tmp_path, FakeServer(LOCAL))]
    told = [replace(world.settings, on_event="tell", rescan=0.0) for world in worlds]
    alerting = Alerting([(told[0], first.server), (told[1], second.server)])

    def look() -> None:
        for world in worlds:
            world.tick(30)
        alerting.look([world.daemon for world in worlds])

    look()
    lock = writing(first.begin())
    second.server.deleted.add("run-1")
    look()
    assert events == [("upload_blocked", "trackio")]
    first.append(end_line())
    lock.release()
    look()
    assert events[1:] == [("run_ended", "wandb")]
    first.server.down = Refused("no key", kind=Connection.NOT_LOGGED_IN, remedy="log in")
    first.begin("run-2", "training_log_b.jsonl")
    look()
    assert events[2:] == [("upload_blocked", "wandb")]


def test_what_was_there_when_it_was_first_asked_for_is_no_news(told: Told) -> None:
    path = told.world.begin()  # crashed long ago
    told.world.train(1)
    told.world.begin("run-2", "training_log_b.jsonl")
    told.world.append(end_line(), path.with_name("training_log_b.jsonl"))
    assert told.after(600) == []


def test_a_run_that_died_with_the_machine_is_told_after_the_restart(told: Told) -> None:
    told.after(10)
    lock = writing(told.world.begin())
    told.world.train(1)
    told.after(60)
    lock.release()  # a power cut
    told.world.restart()
    told.start()
    assert told.after(30) == []
    assert told.after(300) == ["run_crashed"]
    told.world.restart()
    told.start()
    assert told.after(600) == []


def test_the_sentence_for_people_has_nothing_that_a_terminal_obeys(told: Told) -> None:
    assert told.after(30) == []
    told.world.begin(run_name="a\x1b[2J\u202eb\n")
    told.world.append(end_line())
    assert told.after(30) == ["run_ended"]
    assert told.events[-1]["words"] == r"a\x1b[2J\u202eb\n has ended: finished"
    assert told.events[-1]["run_name"] == "a\x1b[2J\u202eb\n"

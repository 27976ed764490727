"""What the log tells of runs: each thing once, with the run's id, whatever is done how often."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd import events
from syncd.errors import Unreachable
from syncd.settings import Limits
from syncd.state import decisions
from tests.syncd.world import NAME, World, end_line


class Told(logging.Handler):
    """Who told what of which run: the names of `events`' functions."""

    def __init__(self) -> None:
        super().__init__()
        self.of: dict[str, list[str]] = {}
        self.words: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        run_id = getattr(record, "run_id", "")
        self.of.setdefault(run_id, []).append(record.funcName or "")
        self.words.append(record.getMessage())


@pytest.fixture
def told() -> Iterator[Told]:
    handler = Told()
    log = logging.getLogger("syncd")
    log.addHandler(handler)
    before, log.level = log.level, logging.INFO
    yield handler
    log.removeHandler(handler)
    log.setLevel(before)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, limits=Limits(writer_check_after=1e9))


def test_a_run_is_opened_arrives_catches_up_and_ends_once(world: World, told: Told) -> None:
    world.begin()
    for _ in range(5):  # a live run catches up again and again
        world.train(3)
        world.run_on()
    world.append(end_line())
    world.run_on()
    assert told.of["run-1"] == ["run_opened", "run_arrives", "run_caught_up", "run_ended"]
    assert f"{NAME}: opened; 0 records are on the server" in told.words
    assert any(f"{NAME}: its records arrive on the server: http" in words for words in told.words)
    assert f"{NAME}: ended (finished); all 17 records are on the server" in told.words


def test_a_local_store_is_not_called_a_server(told: Told) -> None:
    path = Path("a.jsonl")
    place = "in the local dashboard"
    events.run_opened("a", path, 3, place)
    events.run_arrives("a", path, place, "")
    events.run_ended("a", path, "failed", 4, place)
    assert told.words == [
        "a.jsonl: opened; 3 records are in the local dashboard",
        "a.jsonl: its records arrive in the local dashboard",
        "a.jsonl: ended (failed); all 4 records are in the local dashboard",
    ]


def test_a_failure_is_told_and_what_comes_of_it(world: World, told: Told) -> None:
    world.begin()
    world.train(3)
    world.run_on()
    world.server.faults.append("send")
    world.server.faults.append("confirm")
    world.train(3)
    world.run_on()
    first = ["run_opened", "run_arrives", "run_caught_up"]
    assert told.of["run-1"][:3] == first
    assert told.of["run-1"][-2:] == ["run_failed", "run_went_on"]
    assert f"{NAME}: goes on; 7 records are on the server" in told.words


def test_a_server_that_is_away_is_told_once_and_not_by_every_run(world: World, told: Told) -> None:
    for number in range(4):
        world.begin(f"voice-{number}", f"training_log_{number}.jsonl")
    world.run_on()
    world.server.down = Unreachable("no route")
    for number in range(4):
        world.train(1, world.logs / f"training_log_{number}.jsonl")
    for _ in range(20):
        world.tick(5.0)
    assert told.of[""].count("went_offline") == 1
    assert not any("run_failed" in names for names in told.of.values())
    world.server.down = None
    world.run_on()
    assert [told.of[""].count(name) for name in ("reached", "came_back")] == [1, 1]
    for number in range(4):
        assert told.of[f"voice-{number}"].count("run_arrives") == 1


def test_what_people_decide_is_told(world: World, told: Told) -> None:
    world.begin()
    world.run_on()
    world.retry()
    world.tick(10.0)
    assert told.of["run-1"].count("run_retried") == 1
    world.run_on()
    decisions.forget(world.destination, "run-1")
    for _ in range(5):
        world.tick(10.0)
    assert told.of["run-1"][-1] == "run_forgotten"

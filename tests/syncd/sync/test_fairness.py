"""Ten minutes of busy runs through the pure scheduler: how long does any record wait?

The world is simulated: sessions take the times that wandb's SDK and its counts were seen to take.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from itertools import count

import pytest

from karaoke_train.runlog.reader import Position
from syncd.destination.base import Outcome
from syncd.errors import Leased
from syncd.settings import Limits
from syncd.sync.scheduler import (
    Action,
    ActionKind,
    Closed,
    Confirmed,
    Event,
    Failed,
    FileSize,
    Opened,
    Phase,
    Run,
    Sent,
    start,
    transition,
)
from syncd.sync.turns import SLOW_AT_ONCE, actions

LINE = 100  # bytes
TICK = 0.25
OPENING, SENDING, ASKING, CLOSING = 1.5, 0.2, 0.05, 0.3  # seconds
COUNTED = 1.0  # seconds after a send, until the server counts it


@dataclass
class World:
    """Runs and a server. rate: lines per second of each live run; backlogs: lines of further runs
    that are there from the start."""

    limits: Limits
    live: int
    rate: float = 1.0
    backlogs: dict[str, int] = field(default_factory=dict)
    ahead: int = 0
    leased: int = 0  # runs that another daemon has
    opening: float = OPENING
    now: float = 0.0
    seconds: float = 600.0

    def __post_init__(self) -> None:
        self.runs = {f"live{n}": Run() for n in range(self.live)}
        self.runs |= {key: Run() for key in self.backlogs}
        self.runs |= {f"leased{n}": Run() for n in range(self.leased)}
        self.lines: dict[str, deque[float]] = {key: deque() for key in self.runs}  # unconfirmed
        self.written = dict.fromkeys(self.runs, 0)
        self.counted: dict[str, list[tuple[float, int]]] = {key: [] for key in self.runs}
        self.longest = dict.fromkeys(self.runs, 0.0)  # that any confirmed line had waited
        self.opened = dict.fromkeys(self.runs, 0)
        self.coming: list[tuple[float, int, str, Event]] = []
        self.order = count()
        for key, lines in self.backlogs.items():
            self.write(key, lines)
        for n in range(self.leased):
            self.write(f"leased{n}", 10)

    def write(self, key: str, lines: int) -> None:
        self.written[key] += lines
        self.lines[key].extend([self.now] * lines)
        self.apply(key, FileSize(self.written[key] * LINE))

    def apply(self, key: str, event: Event) -> None:
        before = self.runs[key].confirmed.ordinal
        self.runs[key] = transition(self.runs[key], event, self.now, 0.5, self.limits)
        for _ in range(self.runs[key].confirmed.ordinal - before):
            self.longest[key] = max(self.longest[key], self.now - self.lines[key].popleft())

    def play(self) -> None:
        due = {f"live{n}": n / max(1, self.live) / self.rate for n in range(self.live)}
        while self.now < self.seconds:
            self.now += TICK
            for key in due:
                while due[key] <= self.now:
                    due[key] += 1 / self.rate
                    self.write(key, 1)
            while self.coming and self.coming[0][0] <= self.now:
                _, _, key, event = heapq.heappop(self.coming)
                self.apply(key, event)
            for action in actions(self.runs, online=True, now=self.now, limits=self.limits):
                self.begin(action)
            busy = sum(run.phase not in (Phase.IDLE, Phase.BLOCKED) for run in self.runs.values())
            assert busy <= self.limits.open_runs
        for key, waiting in self.lines.items():  # what waits still has waited, too
            if waiting and not key.startswith("leased"):
                self.longest[key] = max(self.longest[key], self.now - waiting[0])

    def begin(self, action: Action) -> None:
        key, run = action.key, self.runs[action.key]
        self.runs[key] = start(run, action)
        match action.kind:
            case ActionKind.OPEN if key.startswith("leased"):
                self.later(0.05, key, Failed(Leased("elsewhere")))
            case ActionKind.OPEN:
                self.opened[key] += 1
                self.later(self.opening, key, Opened(at(self.count_of(key)), self.ahead))
            case ActionKind.SEND:
                upto = min(run.sent.ordinal + self.limits.batch, run.size // LINE)
                self.counted[key].append((self.now + SENDING + COUNTED, upto))
                self.later(SENDING, key, Sent(at(upto), upto * LINE))
            case ActionKind.CONFIRM:
                self.later(ASKING, key, Confirmed(at(self.count_of(key)), self.ahead))
            case ActionKind.CLOSE:
                self.later(CLOSING, key, Closed(action.outcome is not None))
            case _:
                raise AssertionError(action)

    def count_of(self, key: str) -> int:
        counted = self.counted[key]
        while len(counted) > 1 and counted[1][0] <= self.now:
            del counted[0]
        return counted[0][1] if counted and counted[0][0] <= self.now else 0

    def later(self, seconds: float, key: str, event: Event) -> None:
        heapq.heappush(self.coming, (self.now + seconds, next(self.order), key, event))


def at(lines: int) -> Position:
    return Position(lines, lines * LINE)


VISIT = 6.0  # seconds that a live run's turn takes at most, with its waits and ticks


@pytest.mark.parametrize("live", [5, 64, pytest.param(500, marks=pytest.mark.slow)])  # 10 s
def test_no_live_run_waits_longer_than_for_everybodys_turn(live: int) -> None:
    world = World(Limits(open_runs=4), live)
    world.play()
    assert max(world.longest.values()) < (live / 4 + 2) * VISIT


def test_where_every_run_has_a_session_nobody_waits() -> None:
    world = World(Limits(open_runs=512), 500, ahead=100_000, seconds=120.0, opening=TICK)
    world.play()
    all_open = 500 / SLOW_AT_ONCE * TICK
    assert max(world.longest.values()) < all_open + Limits().confirm_lazy + 2
    assert max(world.opened.values()) == 1


def test_live_runs_are_served_beside_backlogs() -> None:
    backlogs = {f"backlog{n}": 3_000_000 for n in range(6)}
    world = World(Limits(open_runs=4, batch=5_000), 8, backlogs=backlogs)
    world.play()
    assert max(world.longest[f"live{n}"] for n in range(8)) < (14 / 4 + 1) * (Limits().turn + VISIT)
    taken = [world.runs[key].confirmed.ordinal for key in backlogs]
    assert min(taken) > max(taken) / 2  # and each backlog has its share


@pytest.mark.parametrize("places", [4, 64])
def test_live_runs_do_not_wait_for_a_folder_of_old_logs_that_comes(places: int) -> None:
    old = {f"backlog{n}": 20 for n in range(1000)}
    world = World(Limits(open_runs=places), 2, backlogs=old, opening=TICK, seconds=100.0)
    world.play()
    assert max(world.longest[key] for key in ("live0", "live1")) < 5 * VISIT
    there = sum(world.runs[key].confirmed.ordinal == 20 for key in old)
    assert there > 100  # most places are theirs


def test_runs_that_are_elsewhere_do_not_take_everybodys_turn() -> None:
    few, many = World(Limits(open_runs=4), 4), World(Limits(open_runs=4), 4, leased=20)
    few.play()
    many.play()
    assert max(few.opened.values()) == 1  # a place each: nobody gives way
    tried = many.seconds / (Limits().turn / 20)  # each of the 20, once per turn
    assert sum(many.opened.values()) < tried
    assert max(many.longest.values()) < 4 * VISIT


def test_a_run_that_is_to_be_ended_keeps_its_place_until_it_is() -> None:
    ended = Run(
        Phase.OPEN, size=100, scanned_to=100, confirmed=at(1), sent=at(1),
        outcome=Outcome("finished", 0),
        opened_for=100,
    )  # fmt: skip
    runs = {"ended": ended, "waits": Run(size=100)}
    chosen = actions(runs, online=True, now=100.0, limits=Limits(open_runs=1))
    assert chosen == [Action(ActionKind.CLOSE, "ended", Outcome("finished", 0))]

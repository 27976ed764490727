"""The whole core under random histories: the real Daemon and Sessions on real files, a destination
that forgives nothing, and four invariants at every tick."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from syncd.schedule import Limits
from tests.syncd.world import OVERLONG, World, config_line, end_line, train_line

if TYPE_CHECKING:
    from collections.abc import Iterator

# A history is a list of steps, each a word and a number whose meaning depends on the word.
Step = tuple[str, int]

FAULTS = ("open", "send", "silent", "confirm", "close", "late", "stale_count", "stale")
BAD = (b"{torn\n", b"\x00\x00\x00\n", b'"text"\n', b"\xff\xfe\n", b"[1]\n", b"\n", b"nan\n")

writes = st.one_of(
    st.tuples(st.just("train"), st.integers(1, 12)),
    st.tuples(st.just("bad"), st.integers(0, len(BAD) - 1)),
    st.tuples(st.just("torn"), st.integers(1, 60)),
    st.tuples(st.just("complete"), st.just(0)),
    st.tuples(st.sampled_from(["overlong", "end", "resume"]), st.just(0)),
)
events = st.one_of(
    st.tuples(st.just("tick"), st.sampled_from([0, 1, 2, 5, 70, 130])),
    st.tuples(st.just("deliver"), st.integers(1, 20)),
    st.tuples(st.sampled_from(FAULTS), st.integers(1, 6)),
    st.tuples(st.sampled_from(["restart", "lost cursor", "hold", "release", "offline"]),
              st.just(0)),
    st.tuples(st.sampled_from(["damaged cursor", "move"]), st.integers(0, 400)),
)  # fmt: skip
histories = st.lists(st.one_of(writes, events, st.just(("tick", 1))), min_size=15, max_size=60)


@contextmanager
def world(**how: object) -> Iterator[World]:
    """A world of its own for each example."""
    with tempfile.TemporaryDirectory() as folder:
        made = World(Path(folder), **how)  # type: ignore[arg-type]
        try:
            yield made
        finally:
            made.daemon.drop()


@settings(max_examples=150)
@given(histories, st.sampled_from([3, 20_000]))
@example([("train", 3), ("tick", 1), ("tick", 1), ("silent", 1), ("train", 5), ("tick", 5),
          ("deliver", 20), ("tick", 5), ("tick", 70)], 20_000)  # fmt: skip
@example([("train", 9), ("tick", 1), ("deliver", 4), ("tick", 2), ("stale_count", 5),
          ("restart", 0), ("lost cursor", 0), ("tick", 1), ("tick", 2)], 20_000)  # fmt: skip
def test_every_line_once_and_in_order_whatever_happens(history: list[Step], batch: int) -> None:
    with world(limits=Limits(batch=batch)) as here:
        here.begin()
        for step in history:
            perform(here, *step)
        heal(here)
        here.whole()


def perform(here: World, word: str, number: int) -> None:
    """One step of a history."""
    if word in FAULTS:
        here.server.faults.append(word)  # type: ignore[arg-type]
        here.server.lag = number
        return
    act = {
        "train": lambda: here.train(number),
        "bad": lambda: here.append(BAD[number]),
        "torn": lambda: here.append(train_line(here.steps)[:number]),
        "complete": lambda: here.append(b'"}\n'),
        "overlong": lambda: here.append(OVERLONG),
        "end": lambda: here.append(end_line()),
        "resume": lambda: here.append(config_line(config={"lr": 0.2}, resumed=True)),
        "tick": lambda: here.tick(number),
        "deliver": lambda: here.server.deliver(number),
        "restart": here.restart,
        "lost cursor": lambda: restart_without(here, -1),
        "damaged cursor": lambda: restart_without(here, number),
        "move": lambda: move(here, number),
        "hold": lambda: setattr(here.pool, "held", True),
        "release": here.pool.release,
        "offline": lambda: flap(here),
    }
    act[word]()


def heal(here: World) -> None:
    """All faults end; a run that waits for a decision gets one; then everything goes up."""
    here.server.faults.clear()
    here.pool.release()
    here.run_on()
    here.whole()  # without a word from the trainer
    here.append(b"\n")  # ends a torn line, as whoever resumes the run does
    here.run_on()
    blocked = {key: run.error for key, run in here.daemon.runs.items() if run.phase == "blocked"}
    assert blocked == {}


def restart_without(here: World, place: int) -> None:
    """The daemon comes back to a cursor that is gone (place -1), or has a flipped bit (odd), or
    has lost its end (even)."""
    here.restart()
    file = here.destination / "cursors" / "run-1.json"
    if not file.exists():
        return
    data = bytearray(file.read_bytes())
    if place < 0:
        file.unlink()
    elif place % 2:
        data[place % len(data)] ^= 1
        file.write_bytes(bytes(data))
    else:
        file.write_bytes(bytes(data[: place % len(data)]))


def move(here: World, number: int) -> None:
    """The file goes to the other folder, or takes another name."""
    folder = (here.logs, here.elsewhere)[number % 2]
    target = folder / f"training_log_moved_{number}.jsonl"
    if not target.exists():
        here.path = here.path.rename(target)


def flap(here: World) -> None:
    """The server can't be reached for a while."""
    from syncd.errors import Unreachable

    here.server.down = Unreachable("the network is gone")
    here.tick(61)
    here.tick(61)
    here.server.down = None


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.daemon.drop()

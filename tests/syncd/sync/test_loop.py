"""The whole core under random histories: the real Daemon and Sessions on real files, a destination
that forgives nothing, and four invariants at every tick."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from karaoke_train.runlog import RunLog
from syncd.destination.base import Outcome
from syncd.errors import Connection, Refused, Unreachable
from syncd.settings import Limits
from syncd.state import cursor, decisions
from syncd.sync import loop
from syncd.sync.scheduler import Phase
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
    memory = "/dev/shm"  # where fsync costs nothing
    with tempfile.TemporaryDirectory(dir=memory if Path(memory).is_dir() else None) as folder:
        made = World(Path(folder), **how)  # type: ignore[arg-type]
        try:
            yield made
        finally:
            made.daemon.drop()


@settings(max_examples=3 * settings.default.max_examples // 2)
@given(histories, st.sampled_from([3, 20_000]), st.sampled_from([0, 0, 7, 1000]))
@example([("train", 3), ("tick", 1), ("tick", 1), ("silent", 1), ("train", 5), ("tick", 5),
          ("deliver", 20), ("tick", 5), ("tick", 70)], 20_000, 0)  # fmt: skip
@example([("train", 9), ("tick", 1), ("deliver", 4), ("tick", 2), ("stale_count", 5),
          ("restart", 0), ("lost cursor", 0), ("tick", 1), ("tick", 2)], 20_000, 0)  # fmt: skip
def test_every_line_once_and_in_order_whatever_happens(
    history: list[Step], batch: int, ahead: int
) -> None:
    with world(limits=Limits(batch=batch)) as here:
        here.server.ahead = ahead
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
    here.server.down = Unreachable("the network is gone")
    here.tick(61)
    here.tick(61)
    here.server.down = None


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.daemon.drop()


def test_a_run_is_uploaded_and_ended_as_its_file_says(here: World) -> None:
    here.begin()
    here.train(5)
    here.append(end_line("failed", 3))
    here.run_on()
    here.whole()
    run = here.server.runs["run-1"]
    assert run.outcome is not None
    assert (run.outcome.status, run.outcome.exit_code) == ("failed", 3)
    assert here.daemon.runs["run-1"].ended
    assert here.server.sessions == []
    assert (run.target.entity, run.target.project) == ("team", "songs")


def test_a_restart_sends_only_what_is_new(here: World) -> None:
    here.begin()
    here.train(5)
    here.run_on()
    here.restart()
    here.train(2)
    here.run_on()
    here.whole()
    assert here.server.sent == 8


def test_a_finished_run_is_not_opened_again_by_a_restart(here: World) -> None:
    here.begin()
    here.append(end_line())
    here.run_on()
    asked = len(here.server.asked)
    here.restart()
    for _ in range(20):
        here.tick(60)
    assert len(here.server.asked) == asked


def test_an_end_is_looked_at_for_as_long_however_soon_a_server_counts_as_unreachable(
    tmp_path: Path,
) -> None:
    here = World(tmp_path, limits=Limits(request_timeout=1.0))
    here.begin()
    here.append(end_line())
    here.run_on()
    known = cursor.load(here.destination / "cursors", "run-1")
    assert known is not None
    told_at = time.time() - 300.0  # by another process than that which began the run
    cursor.save(here.destination / "cursors", known._replace(unsettled=told_at))
    here.server.runs["run-1"].outcome = None  # by a post of that one's
    here.restart()
    here.run_on()
    assert here.server.runs["run-1"].outcome is not None
    known = cursor.load(here.destination / "cursors", "run-1")
    assert known is not None
    assert known.unsettled == told_at, "it is looked at further on"
    here.daemon.drop()


def test_a_lost_state_folder_costs_a_re_read_and_no_duplicate(here: World) -> None:
    here.begin()
    here.train(5)
    here.append(end_line())
    here.run_on()
    shutil.rmtree(here.settings.state_dir)
    here.restart()
    here.run_on()
    here.whole()
    assert here.server.sent == 7


def test_a_torn_tail_of_a_crashed_run_holds_no_session_open(here: World) -> None:
    here.begin()
    here.append(b'{"torn')
    for _ in range(100):
        here.tick(5)
        here.server.deliver()
    here.restart()
    for _ in range(100):
        here.tick(5)
    assert here.server.sessions == []


def test_a_moved_file_goes_on_at_once_as_the_same_run(here: World) -> None:
    here.begin()
    here.train(5)
    here.run_on()
    here.path = here.path.rename(here.elsewhere / here.path.name)
    here.train(2)
    for _ in range(4):  # seconds, not the minutes of a writer's silence
        here.tick(5)
        here.server.deliver()
    here.whole()
    assert here.server.sent == 8
    assert here.daemon.runs["run-1"].outcome is None


def test_a_forgotten_run_is_left_alone_though_its_session_is_open(here: World) -> None:
    here.begin()
    here.train(2)
    here.run_on()
    decisions.forget(here.destination, "run-1")
    here.tick(10)
    here.train(2)
    for _ in range(20):
        here.tick(5)
        here.server.deliver()
    assert here.server.count("run-1") == 3
    assert here.server.sessions == []
    here.retry()
    here.run_on()
    here.whole()


def test_a_run_kept_local_is_not_uploaded(here: World) -> None:
    here.begin("run-2", "training_log_b.jsonl", upload=False)
    for _ in range(5):
        here.tick(5)
    assert here.server.asked == []
    assert here.daemon.runs == {}


def test_a_run_kept_local_is_uploaded_when_named(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "training_log_b.jsonl"
    here = World(tmp_path, files=[path], once=True)
    here.begin("run-2", path.name, upload=False)
    here.run_on()
    here.whole("run-2")


def test_one_bad_run_holds_back_no_other(here: World) -> None:
    here.server.deleted.add("run-1")
    here.begin()
    here.train(2)
    here.begin("run-2", "training_log_b.jsonl")
    here.run_on()
    here.whole("run-2")
    assert here.daemon.runs["run-1"].phase is Phase.BLOCKED


def test_more_runs_than_sessions_all_go_up(tmp_path: Path) -> None:
    here = World(tmp_path, limits=Limits(open_runs=2))
    for number in range(7):
        path = here.begin(f"many-{number}", f"training_log_{number}.jsonl")
        here.train(3, path)
    for _ in range(200):
        here.tick(1)
        here.server.deliver()
        assert len(here.server.sessions) <= 2
    for number in range(7):
        here.whole(f"many-{number}")
    here.daemon.drop()


def test_a_crashed_run_is_ended_and_goes_on_when_it_is_resumed(here: World) -> None:
    here.begin()
    here.train(3)
    here.run_on()
    for _ in range(60):
        here.tick(5)
    assert here.daemon.runs["run-1"].outcome == Outcome("crashed", 1)
    assert here.server.sessions == []
    here.append(config_line(config={"lr": 0.5}, resumed=True))
    here.train(2)
    here.run_on()
    here.whole()
    assert here.daemon.runs["run-1"].outcome is None


def test_a_living_writer_keeps_its_run_open(here: World) -> None:
    with RunLog.create(here.logs, project="songs", run_id="alive") as log:
        log.train(1, 0.0, {"train/loss": 1.0})
        here.run_on()
        for _ in range(100):
            here.tick(5)
        assert here.daemon.runs["alive"].outcome is None
        assert len(here.server.sessions) == 1
    here.run_on()
    assert here.server.runs["alive"].outcome == Outcome("finished", 0)


def test_a_one_shot_upload_ends_beside_a_living_writer(tmp_path: Path) -> None:
    here = World(tmp_path, once=True)
    with RunLog.create(here.logs, project="songs", run_id="alive") as log:
        log.train(1, 0.0, {"train/loss": 1.0})
        for _ in range(100):
            here.tick(0.25)
            here.server.deliver()
            if here.daemon.done():
                break
        assert here.daemon.done()
        assert here.server.count("alive") == 2
        assert here.server.runs["alive"].outcome is None


@pytest.mark.parametrize(
    "error",
    [
        Unreachable("no network"),
        Refused("no key", kind=Connection.NOT_LOGGED_IN, remedy="log in"),
        ZeroDivisionError("a bug of ours"),
    ],
)
def test_a_server_that_is_asked_in_vain_is_asked_again(here: World, error: Exception) -> None:
    here.begin()
    here.server.down = error  # type: ignore[assignment]
    for _ in range(5):
        here.tick(10)
    assert not here.daemon.connectivity.online
    here.server.down = None
    here.run_on()
    here.whole()


def test_a_file_gone_while_the_account_changes_stops_nobody(here: World) -> None:
    here.begin()
    here.append(end_line())
    here.run_on()
    here.path.unlink()
    here.intact = False
    here.begin("run-2", "training_log_b.jsonl")
    here.daemon.connectivity = replace(here.daemon.connectivity, entity="another")
    here.tick(61)
    here.restart()
    here.tick(61)
    assert "run-2" in here.daemon.runs


def test_news_of_a_file_is_looked_at_without_a_rescan(here: World) -> None:
    here.begin()
    here.run_on()
    here.train(1)
    here.daemon.file_changed(here.path)
    here.tick(0)
    assert here.server.sent == 2


def test_a_run_is_told_with_project_name_and_config_keys_that_were_asked_for(
    tmp_path: Path,
) -> None:
    here = World(tmp_path, run_name="mine")
    here.daemon.settings = replace(here.settings, project="other", allow_config_keys=("*_key",))
    here.begin()
    here.run_on()
    target = here.server.runs["run-1"].target
    assert (target.project, target.header.run_name) == ("other", "mine")
    assert target.allowed_keys == ("*_key",)
    here.daemon.drop()


def test_epoch_summaries_come_as_a_table_at_the_end(here: World) -> None:
    here.begin()
    for epoch in range(2):
        here.append(b'{"type":"epoch_summary","epoch":%d}\n' % epoch)
    here.append(end_line())
    here.run_on()
    assert [record["epoch"] for record in here.server.runs["run-1"].epochs] == [0, 1]


def test_a_resumed_runs_newest_config_is_the_one_shown(here: World) -> None:
    here.begin()
    here.append(config_line(config={"lr": 0.7}, resumed=True))
    here.append(end_line())
    here.run_on()
    here.restart()
    here.train(1)
    here.run_on()
    assert here.server.runs["run-1"].target.header.config == {"lr": 0.7}


def test_what_happens_within_a_moment_of_a_tick_shares_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with world() as here:
        slept: list[float] = []
        monkeypatch.setattr(loop.time, "sleep", slept.append)
        here.daemon.tick()
        here.daemon.file_changed(here.logs / "training_log_a.jsonl")
        here.daemon.wait()
        here.daemon._ticked_at -= 10
        here.daemon.file_changed(here.logs / "training_log_a.jsonl")
        here.daemon.wait()
        assert 0 < slept[0] <= loop.TICKS_APART
        assert slept[1:] == [0.0]

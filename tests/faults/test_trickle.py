"""A server that sends a byte now and then, and never an end: whatever waits for its answer gives
up, and whoever is told to stop meanwhile does."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from karaoke_train.runlog import RunLog
from syncd.errors import Connection, Exit
from tests.fakes.wandb_server import WandbServer
from tests.faults.rig import LANES, ROOT, Playing, Rig, by_lane, played, write
from tests.patience import WAIT, patience, until
from tests.processes import alive, descendants


def trickle(rig: Rig, **where: Any) -> Callable[[], bool]:
    """From now on, such requests are answered for ever. Returns whether one was met."""
    assert isinstance(rig.server, WandbServer)
    server, before = rig.server, len(rig.server.requests())
    server.fault("trickle", **where)
    return lambda: any(seen.fault == "trickle" for seen in server.requests()[before:])


def stop(rig: Rig) -> None:
    """It ends by SIGTERM, in order, with all that it has started."""
    started = descendants(rig.pid)
    rig.signal(signal.SIGTERM)
    until(lambda: not rig.running, f"it stops: {rig.said()}")
    until(lambda: not any(map(alive, started)), "nothing of it is left")
    assert rig.returncode == Exit.OK


def whole(rig: Rig, log: RunLog) -> None:
    """A server that is well again gets everything once. (That the SDK brings it, which takes long
    on a busy machine, is what the other tests here are about.)"""
    assert isinstance(rig.server, WandbServer)
    rig.server.clear()
    rig.assert_prefix(log)
    if rig.direct:
        rig.start()
        rig.await_end(log)
        rig.assert_same(log)


def nobody_is_answered(rig: Rig) -> None:
    """The daemon says so after its own deadline, and stops all the same."""
    rig.close()
    met = trickle(rig)
    with RunLog.create(rig.logs, project="songs") as log:
        write(log, 5)
    rig.start()
    until(met, "the server is asked")
    until(lambda: rig.status().connectivity is Connection.OFFLINE, f"it is said: {rig.said()}")
    stop(rig)
    whole(rig, log)


def stopped_while(rig: Rig, **where: Any) -> None:
    """What is under way when it is told to stop is given up at once, whichever question it is."""
    rig.close()
    met = trickle(rig, **where)
    with RunLog.create(rig.logs, project="songs") as log:
        write(log, 10)
    rig.start()
    until(met, "the server is asked", seconds=3 * WAIT)  # the SDK starts slowly on a busy machine
    stop(rig)
    whole(rig, log)


SCENARIOS = {
    "every answer": by_lane("auto", nobody_is_answered),
    "the run's count": by_lane("auto", partial(stopped_while, operation="RunResumeStatus")),
    **{
        f"{name}, {lane}": by_lane(lane, scenario)
        for lane in LANES
        for name, scenario in {
            "the run's making": partial(stopped_while, operation="UpsertBucket"),
            "a post": partial(stopped_while, endpoint="file_stream"),
        }.items()
    },
}
under_way = played(SCENARIOS)


@pytest.mark.parametrize("case", SCENARIOS)
def test_an_answer_that_never_ends_holds_nothing_up(under_way: Playing, case: str) -> None:
    under_way.result(case)


@pytest.fixture
def rig(tmp_path: Path, server: WandbServer) -> Iterator[Rig]:
    with Rig(tmp_path, server) as rig:
        yield rig


def command(rig: Rig, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "syncd", *words],
        cwd=ROOT, env=rig.environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("word", "code"),
    [("sync", Exit.OFFLINE), ("verify", Exit.OFFLINE), ("doctor", Exit.ERRORS)],
)
def test_a_command_says_after_its_deadline_that_the_server_does_not_answer(
    rig: Rig, word: str, code: Exit
) -> None:
    with RunLog.create(rig.logs, project="songs") as log:
        write(log, 5)
    trickle(rig)
    done = command(rig, word)
    said, _ = done.communicate(timeout=patience(90))
    assert (done.returncode, "does not answer" in said) == (code, True), said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (["sync"], {"operation": "UpsertBucket"}),
        (["sync"], {"endpoint": "file_stream"}),
        (["verify"], {}),
        (["verify"], {"operation": "HistoryPage"}),
        (["doctor"], {}),
    ],
    ids=["sync, the run's making", "sync, a post", "verify", "verify, the history", "doctor"],
)
def test_a_command_that_is_interrupted_ends_with_all_that_it_has_started(
    rig: Rig, words: list[str], where: dict[str, Any]
) -> None:
    with RunLog.create(rig.logs, project="songs") as log:
        write(log, 5)
    if where.get("operation") == "HistoryPage":
        synced = command(rig, "sync")
        said, _ = synced.communicate(timeout=patience(90))
        assert synced.returncode == Exit.OK, said
    met = trickle(rig, **where)
    running = command(rig, *words)
    until(met, "the server is asked")
    started = descendants(running.pid)
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=patience(45))
    assert running.returncode == Exit.INTERRUPTED, said
    assert "Traceback" not in said
    until(lambda: not any(map(alive, started)), "nothing of it is left")

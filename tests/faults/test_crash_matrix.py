"""Killed at any point, every record is at the destination once: real daemons, real SIGKILL.

Each scenario is a run of its own that goes from its first record to its end, with one death on
the way. Where the worker dies, the daemon has to go on by itself; where the daemon dies, the next
one has to.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from karaoke_train.runlog import RunLog
from syncd import failpoints
from tests.fakes.faults import Fault, Request
from tests.fakes.wandb_server import WandbServer
from tests.fakes.wandb_state import HISTORY
from tests.faults.rig import LOCAL, Playing, Rig, by_lane, cases, played, write
from tests.patience import until
from tests.processes import alive, descendants

# in the order in which a record passes them
DAEMON = [
    "open.before",  # the lease is taken, the server was asked nothing
    "open.after",  # the session is open, the cursor doesn't know
    "read.before",
    "read.after",
    "send.before",
    "send.after",  # the SDK has the rows, nothing is confirmed
    "notes.after_write",  # an epoch summary is noted, the cursor doesn't count it
    "confirm.before",
    "confirm.after",  # the server's count is known, and not written down
    "cursors.before_write",  # the temporary is there, and empty
    "cursors.after_write",  # whole, and not synced
    "cursors.before_rename",
    "cursors.after_rename",
    "close.before",
    "close.after",  # the server knows the outcome, the cursor doesn't
]
WORKER = [
    "init.before",
    "init.after",
    "log.before",
    "log.after",
    "finish.before",
    "finish.after",
]
SERVER = {"apply.before": "reset", "apply.after": "drop_reply"}
LATER = {"log.before": 5, "log.after": 5, "cursors.before_write": 2, "cursors.after_rename": 2}


def begin(rig: Rig) -> RunLog:
    """A new run with some records, which is what sets the daemon going."""
    log = RunLog.create(rig.logs, project="songs", config={"lr": 3e-4})
    write(log, 8)
    return log


def end_well(rig: Rig, log: RunLog) -> None:
    """More records and the run's end; then all is there once."""
    write(log, 4, start=8)
    log.close()
    rig.await_end(log)
    rig.await_all(log)
    assert rig.assert_same(log) == 14  # with the first record and the last
    run = rig.run(log.run_id)
    assert run["state"] == "finished"
    assert rig.local or run["summary"]["epoch_summaries"]["nrows"] == 3
    assert rig.status().pending == 0


def order(rig: Rig, point: str) -> None:
    rig.order.write_text(f"{point}:{LATER.get(point, 1)}")


def kill_the_daemon(rig: Rig, point: str) -> None:
    """The daemon dies there; the next one finds its way."""
    order(rig, point)
    rig.start()
    log = begin(rig)
    if point.startswith("close"):
        log.close("failed")
        rig.dies()
        rig.assert_prefix(log)
        rig.start()
        rig.await_end(log)
        rig.assert_same(log)
        assert rig.run(log.run_id)["state"] == "failed"
        return
    rig.dies()
    rig.assert_prefix(log)
    rig.start()
    end_well(rig, log)


def kill_the_worker(rig: Rig, point: str) -> None:
    """The worker dies there; the daemon stays, and goes on with another one."""
    order(rig, point)
    rig.start()
    daemon = rig.pid
    log = begin(rig)
    if not point.startswith("finish"):
        until(lambda: not rig.order.exists(), "a worker died where it was told to")
        rig.assert_prefix(log)
    end_well(rig, log)
    assert not rig.order.exists()
    assert rig.running
    assert rig.pid == daemon


def kill_at_the_server(rig: Rig, point: str) -> None:
    """All of our processes die while the server has a request: before it applies it, or after."""
    assert isinstance(rig.server, WandbServer)
    met: list[Request] = []

    def strike(request: Request) -> Fault | None:
        if met or request.endpoint != "file_stream" or HISTORY not in request.body.get("files", {}):
            return None
        met.append(request)
        everybody = [rig.pid, *descendants(rig.pid)]
        for pid in everybody:
            os.kill(pid, signal.SIGKILL)
        return Fault(SERVER[point])  # type: ignore[arg-type]

    rig.start()
    rig.server.hook = strike
    log = begin(rig)
    rig.dies()
    rig.server.hook = None
    rig.assert_prefix(log)
    rig.start()
    end_well(rig, log)


def kill_the_core(rig: Rig, point: str) -> None:
    """wandb-core alone dies, in the middle of a run: the SDK above it takes rows as before."""
    rig.start()
    log = begin(rig)
    rig.await_all(log)
    for core in rig.cores():
        os.kill(core, signal.SIGKILL)
    end_well(rig, log)


def kill_the_idle_worker(rig: Rig, point: str) -> None:
    """A worker that waits for its next record is killed; the next record has to find out."""
    rig.start()
    log = begin(rig)
    rig.await_all(log)
    for worker in rig.workers():
        os.kill(worker, signal.SIGKILL)
    end_well(rig, log)


OURS: dict[str, Callable[[Rig], None]] = {
    point: partial(kill_the_daemon, point=point) for point in DAEMON
}
WANDB: dict[str, Callable[[Rig], None]] = OURS | {
    point: partial(kill_at_the_server, point=point) for point in SERVER
}
SDK: dict[str, Callable[[Rig], None]] = {
    **{point: partial(kill_the_worker, point=point) for point in WORKER},
    "core": partial(kill_the_core, point="core"),
    "idle worker": partial(kill_the_idle_worker, point="idle worker"),
}
SCENARIOS: dict[str, Callable[[Rig], None]] = {
    **{f"{name}, auto": by_lane("auto", scenario) for name, scenario in WANDB.items()},
    **{f"{name}, sdk": by_lane("sdk", play) for name, play in (WANDB | SDK).items()},
}
AT_HOME: dict[str, Callable[[Rig], None]] = {
    f"{name}, {LOCAL}": by_lane(LOCAL, scenario) for name, scenario in OURS.items()
}
under_way = played(SCENARIOS | AT_HOME, width=6)


@pytest.mark.parametrize("case", cases(SCENARIOS | AT_HOME))
def test_killed_there_every_record_is_at_the_destination_once(
    under_way: Playing, case: str
) -> None:
    under_way.result(case)


def test_without_the_variable_a_failpoint_does_nothing(tmp_path: Path) -> None:
    assert failpoints.bound({}) is failpoints._nothing
    assert failpoints.failpoint is failpoints._nothing


def test_the_processes_of_a_killed_daemon_go_with_it(tmp_path: Path) -> None:
    """Nobody is left who could send rows for a daemon that is no more."""
    with WandbServer(tmp_path / "server") as server, Rig(tmp_path, server) as rig:
        rig.go_by("sdk")
        rig.start()
        with RunLog.create(rig.logs, project="songs") as log:
            write(log, 3)
            rig.await_all(log)
            left = descendants(rig.pid)
            assert len(left) == 2  # a worker and its wandb-core
            rig.kill()
            until(lambda: not any(map(alive, left)), "they are gone")

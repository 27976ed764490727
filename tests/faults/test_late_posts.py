"""A post of a daemon that was killed is held on its way, and lands once a later process has told
the run's end: in the end the server shows the end, and the summary that goes with it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest

from karaoke_train.runlog import RunLog
from syncd.errors import Exit
from tests.fakes.faults import Fault, Request
from tests.fakes.wandb_server import WandbServer
from tests.fakes.wandb_state import HISTORY
from tests.faults.rig import ROOT, Playing, Rig, begun, cases, played, write
from tests.faults.test_verify import verify
from tests.karaoke_train.runlog.files import lines_of
from tests.patience import patience, until


@contextmanager
def held_post(rig: Rig, log: RunLog) -> Iterator[Callable[[], None]]:
    """A daemon is killed whose post of the run's lines is on its way; has it land."""
    server = rig.server
    assert isinstance(server, WandbServer)
    server.change_world(replace(server.world, limits=None))  # which would refuse it
    held, land = threading.Event(), threading.Event()

    def hold(request: Request) -> Fault | None:
        ours = request.endpoint == "file_stream" and request.run == log.run_id
        if ours and not held.is_set() and HISTORY in (request.body.get("files") or {}):
            held.set()
            land.wait(patience(120))
        return None

    def landed() -> None:
        server.hook = None
        land.set()
        until(lambda: rig.run(log.run_id)["state"] == "running", "the post has reopened the run")

    server.hook = hold
    try:
        log.train(1, 0.5, {"train/loss": 9.0, "train/once": 1.0})
        until(held.is_set, f"a post is on its way: {rig.said()}")
        rig.kill()
        yield landed
    finally:
        land.set()
        server.hook = None


def shows_the_end(rig: Rig, log: RunLog) -> bool:
    run, last = rig.run(log.run_id), len(lines_of(log.path)) - 1
    summary = run["summary"]
    shown = (summary.get("_step"), summary.get("train/loss"), summary.get("train/twice"))
    return run["state"] == "finished" and shown == (last, 0.25, 2.0)


def end(log: RunLog) -> None:
    write(log, 20, start=2)
    log.train(30, 3.0, {"train/loss": 0.25, "train/twice": 2.0})
    log.close()


def sync(rig: Rig, log: RunLog) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "syncd", "sync", str(log.path)],
        cwd=ROOT,
        env=rig.environment,
        capture_output=True,
        text=True,
        timeout=patience(90),
    )
    assert done.returncode == Exit.OK, done.stdout + done.stderr


def by_the_daemon(rig: Rig, lane: str) -> None:
    """It looks once more by itself."""
    rig.go_by(lane)
    log = begun(rig, 10)
    with held_post(rig, log) as land:
        rig.start()
        end(log)
        rig.await_end(log)
        assert shows_the_end(rig, log)
        land()
        until(lambda: shows_the_end(rig, log), f"the end is shown again: {rig.said()}")
    rig.await_end(log)
    rig.assert_same(log)


def by_the_next_process(rig: Rig) -> None:
    """A `sync` that told the end is over by then: the next one looks."""
    log = begun(rig, 10)
    with held_post(rig, log) as land:
        end(log)
        sync(rig, log)
        assert shows_the_end(rig, log)
        land()
        sync(rig, log)
    assert shows_the_end(rig, log)
    rig.assert_same(log)


def long_after(rig: Rig) -> None:
    """Nobody looks any more: `verify` says so, and has it told again."""
    rig.start()
    log = RunLog.create(rig.logs, project="songs")
    end(log)
    rig.await_end(log)
    rig.kill()
    assert isinstance(rig.server, WandbServer)
    stale = {"files": {"wandb-summary.json": {"offset": 0, "content": ['{"_step": 3}']}}}
    key = next(key for key in rig.server.store.runs if key.run == log.run_id)
    rig.server.store.stream(key, stale)
    code, out, err = verify(rig, log.run_id)
    assert (code, "how it ended is not shown" in out) == (Exit.DIFFERENT, True), out + err
    code, out, err = verify(rig, log.run_id, "--repair")
    assert code == Exit.OK, out + err
    assert shows_the_end(rig, log)
    rig.assert_same(log)


SCENARIOS: dict[str, Callable[[Rig], None]] = {
    "the daemon": partial(by_the_daemon, lane="auto"),
    "the daemon, by wandb's SDK": partial(by_the_daemon, lane="sdk"),
    "the next sync": by_the_next_process,
    "verify": long_after,
}
under_way = played(SCENARIOS, width=3)


@pytest.mark.parametrize("case", cases(SCENARIOS))
def test_a_post_that_lands_after_the_end_does_not_reopen_the_run_for_good(
    under_way: Playing, case: str
) -> None:
    under_way.result(case)

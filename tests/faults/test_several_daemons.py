"""Three daemons on one log folder, as on a cluster's login nodes: each run is uploaded by one of
them at a time, and when that one dies, by another; every record once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from karaoke_train.runlog import RunLog, RunLogError, provenance
from syncd.state import lease
from tests.fakes.wandb_server import WandbServer
from tests.faults.rig import ANYWHERE, STORE, Rig, write
from tests.karaoke_train.runlog.files import lines_of
from tests.patience import until

RUNS = 4
EVERY = 0.1  # seconds between a run's records


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[RunLog]]:
    """Runs that are being written; closing them is the test's part."""
    monkeypatch.setattr(provenance, "provenance", lambda argv: {"host": "here", "pid": os.getpid()})
    runs = [RunLog.create(tmp_path / "logs", project="songs") for _ in range(RUNS)]
    done = threading.Event()

    def go_on() -> None:
        step = 0
        while not done.wait(EVERY):
            for log in runs:
                with suppress(RunLogError):  # it's closed: the run has ended
                    write(log, 1, start=step)
            step += 1

    writer = threading.Thread(target=go_on)
    writer.start()
    yield runs
    done.set()
    writer.join()
    for log in runs:
        log.close()


@pytest.fixture(params=ANYWHERE)
def rigs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Rig]]:
    """Three daemons, with a state folder each and one destination."""
    with WandbServer(tmp_path / "server") as server:
        # one of them alone has no room for all the runs
        rigs = [
            Rig(
                tmp_path / name,
                server,
                logs=tmp_path / "logs",
                KARAOKE_SYNCD_OPEN_RUNS="2",
                KARAOKE_SYNCD_OPEN_STREAMS="2",
                KARAOKE_SYNCD_TAKEOVER="0.5",
                **{STORE: str(tmp_path / "store")},
            )
            for name in ("one", "two", "three")
        ]
        for rig in rigs:
            rig.go_by(request.param)
        yield rigs
        for rig in rigs:
            rig.close()


def holders(logs: list[RunLog], rigs: list[Rig]) -> dict[int, list[RunLog]]:
    """Process -> the runs that it uploads, as the leases say."""
    found: dict[int, list[RunLog]] = {}
    for log in logs:
        holder = lease.holder(lease.run_lease(log.path, log.run_id, rigs[0].state().name))
        if holder:
            found.setdefault(holder.pid, []).append(log)
    return found


def go_on_without(rigs: list[Rig], logs: list[RunLog]) -> None:
    """What is written up to now arrives, whoever brings it."""
    for log in logs:
        written = len(lines_of(log.path))

        def there(log: RunLog = log, written: int = written) -> bool:
            with suppress(KeyError):
                return len(rigs[0].run(log.run_id)["history"]) >= written
            return False

        until(there, f"{log.path.name} goes on: {[rig.said() for rig in rigs]}", every=0.2)


def test_whichever_daemon_dies_the_others_take_over_its_runs(
    rigs: list[Rig], logs: list[RunLog]
) -> None:
    for rig in rigs:
        rig.start()
    go_on_without(rigs, logs)
    # no daemon has taken them all, but to the local store, where there is room for any number
    assert len(holders(logs, rigs)) >= 2 or rigs[0].local
    for victim in rigs[:2]:
        victim.kill()
        go_on_without(rigs, logs)
        victim.start()
    for victim in rigs[1:]:
        victim.kill()
    for log in logs:
        log.close()
    last = rigs[0]
    for log in logs:
        last.await_end(log)
        assert last.assert_same(log) > 10
        assert last.run(log.run_id)["state"] == "finished"
    assert last.status().pending == 0

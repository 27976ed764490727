"""Worker processes: lent, given back, killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.destination.wandb import worker_memory, worker_pool
from syncd.destination.wandb.worker import Log, Start
from syncd.destination.wandb.worker_pool import Worker, WorkerFailed, WorkerPool
from syncd.errors import RunTrouble
from tests.patience import eventually, patience


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    made = WorkerPool()
    yield made
    made.close()
    for worker in list(made._lent):  # as the sessions would
        made.kill(worker)


def gone(pid: int) -> bool:
    """Whether the process ends within a while."""
    return eventually(lambda: not Path(f"/proc/{pid}").exists())


@pytest.mark.process
def test_a_worker_given_back_is_lent_again(pool: WorkerPool) -> None:
    first = pool.acquire()
    assert pool.acquire() is not first
    pool.release(first)
    assert pool.acquire() is first


@pytest.mark.process
def test_a_discarded_worker_ends_with_its_scratch_folder(pool: WorkerPool) -> None:
    worker = pool.acquire()
    scratch: Path = worker._scratch
    assert scratch.is_dir()
    pool.kill(worker)
    assert gone(worker.pid)
    assert not scratch.exists()


@pytest.mark.process
def test_an_order_that_fails_says_why_and_the_worker_lives(pool: WorkerPool) -> None:
    worker = pool.acquire()
    for _ in range(2):
        with pytest.raises(WorkerFailed, match="no run is open"):
            worker.call(Log([(0, {})], Path()), patience(30))


@pytest.mark.process
def test_a_worker_that_died_is_a_trouble_of_its_run(pool: WorkerPool) -> None:
    worker = pool.acquire()
    worker.signal_kill()
    with pytest.raises(RunTrouble, match="has died"):
        worker.call(Log([], Path()), patience(30))
    pool.kill(worker)


@pytest.mark.process
def test_no_answer_in_time_is_a_trouble_of_its_run(pool: WorkerPool) -> None:
    worker = pool.acquire()
    with pytest.raises(RunTrouble, match="did not answer within 0 s"):
        worker.call(Log([(0, {})], Path()), 0.0)
    pool.kill(worker)


@pytest.mark.process
def test_a_worker_that_takes_too_much_memory_is_a_trouble_of_its_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main = (
        "import sys, time; from multiprocessing.connection import Connection; "
        "line = Connection(int(sys.argv[1])); line.recv(); "
        "held = b'x' * (300 << 20); time.sleep(600)"
    )
    monkeypatch.setattr(worker_pool, "_MAIN", main)
    frugal = WorkerPool(200 << 20)
    worker = frugal.acquire()
    with pytest.raises(RunTrouble, match="more memory for it than the 200 MiB"):
        worker.call(Log([], Path()), patience(60))
    frugal.kill(worker)
    assert gone(worker.pid)


@pytest.mark.process
def test_memory_is_counted_with_that_of_processes_that_were_started() -> None:
    held = "held = b'x' * (50 << 20); print(flush=True); input()"
    both = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {held!r}])"
    command = [sys.executable, "-c", both]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        assert 50 << 20 <= worker_memory.taken(process.pid) <= 100 << 20
        process.communicate(b"\n")
    assert worker_memory.taken(process.pid) == 0


@pytest.mark.process
def test_a_closed_pool_strikes_what_is_lent_and_lends_no_more(pool: WorkerPool) -> None:
    lent = pool.acquire()
    pool.close()
    with pytest.raises(RunTrouble):
        lent.call(Log([], Path()), patience(30))
    with pytest.raises(RunTrouble, match="stopping"):
        pool.acquire()
    pool.release(lent)
    assert gone(lent.pid)


@pytest.mark.process
def test_a_worker_whose_daemon_is_gone_ends_and_leaves_nothing() -> None:
    worker = Worker()
    scratch: Path = worker._scratch
    worker._line.close()
    worker._process.wait(patience(20))
    assert not scratch.exists()


def test_a_machine_that_is_too_slow_is_given_ever_more_time_and_less_again(
    pool: WorkerPool,
) -> None:
    seen = []
    for _ in range(5):
        pool.was_slow()
        seen.append(pool.slack)
    assert seen == [2.0, 4.0, 8.0, 8.0, 8.0]
    for _ in range(5):
        pool.was_in_time()
        seen.append(pool.slack)
    assert seen[5:] == [4.0, 2.0, 1.0, 1.0, 1.0]


@pytest.mark.process
def test_the_sdk_is_started_before_a_server_is_asked(pool: WorkerPool) -> None:
    worker = pool.acquire()
    assert worker.call(Start(), patience(300)) == 0
    assert worker.call(Start(), patience(300)) == 0


@pytest.mark.process
def test_a_worker_that_can_not_be_started_is_said_to_be_that(
    pool: WorkerPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(worker_pool.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(worker_pool.sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(RunTrouble, match="can't be started: No such file or directory"):
        pool.acquire()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_a_worker_that_ends_before_it_answers_is_said_not_to_start(
    pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "_MAIN", "raise SystemExit(3)")
    worker = pool.acquire()
    worker._process.wait(patience(30))
    with pytest.raises(RunTrouble, match="can't be started: it ended with exit code 3"):
        worker.call(Log([], Path()), patience(30))
    pool.kill(worker)

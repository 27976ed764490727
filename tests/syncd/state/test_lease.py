"""One daemon per state folder, one uploader per run."""

from __future__ import annotations

import os
from pathlib import Path

from karaoke_train.runlog.lock import holder_of
from syncd.state import lease


def test_a_run_has_one_uploader_at_a_time(tmp_path: Path) -> None:
    log = tmp_path / "a.jsonl"
    mine, theirs = lease.run_lease(log, "run-1", "here"), lease.run_lease(log, "run-1", "here")
    assert lease.take(mine)
    assert not lease.take(theirs)
    assert lease.holder(theirs) == holder_of(mine.path)
    mine.release()
    assert lease.take(theirs)
    theirs.release()


def test_runs_of_one_folder_do_not_hinder_each_other(tmp_path: Path) -> None:
    leases = [
        lease.run_lease(tmp_path / "a.jsonl", run_id, "here") for run_id in ("run-1", "run-2")
    ]
    assert all(map(lease.take, leases))
    for held in leases:
        held.release()


def test_a_run_has_one_uploader_per_destination(tmp_path: Path) -> None:
    leases = [lease.run_lease(tmp_path / "a.jsonl", "run-1", place) for place in ("here", "there")]
    assert all(map(lease.take, leases))
    for held in leases:
        held.release()


def test_a_folder_that_takes_no_locks_has_no_rival(tmp_path: Path) -> None:
    (tmp_path / ".locks").write_text("a file in the folder's place")
    assert lease.take(lease.run_lease(tmp_path / "a.jsonl", "run-1", "here"))


def test_a_state_folder_is_locked_in_it(tmp_path: Path) -> None:
    lock = lease.state_lock(tmp_path / "state")
    lock.acquire()
    assert holder_of(tmp_path / "state" / "daemon.lock") is not None
    lock.release()


def test_leases_are_where_the_setting_says(tmp_path: Path) -> None:
    own = tmp_path / "own"
    mine = lease.run_lease(tmp_path / "a.jsonl", "run-1", "here", own)
    theirs = lease.run_lease(tmp_path / "a.jsonl", "run-1", "here")
    assert lease.take(theirs)
    assert lease.take(mine)
    assert [path.name for path in own.iterdir()] == ["run-1.here.lease"]
    assert not lease.take(lease.run_lease(tmp_path / "a.jsonl", "run-1", "here", own))
    mine.release()
    theirs.release()


def test_the_lock_of_a_state_folder_is_its_owners_alone_and_a_runs_is_as_the_umask_says(
    tmp_path: Path,
) -> None:
    before = os.umask(0)
    try:
        locks = lease.state_lock(tmp_path), lease.run_lease(tmp_path / "a.jsonl", "run-1", "here")
        assert all(map(lease.take, locks))  # other accounts' trainers share the folder of logs
        assert [lock.path.stat().st_mode & 0o777 for lock in locks] == [0o600, 0o666]
        for lock in locks:
            lock.release()
    finally:
        os.umask(before)

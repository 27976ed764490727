"""What can happen to the local dashboard's store: it is full, read-only, locked, damaged or gone.
Then records wait, `status` says why, and when it is over the store has every record once."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from karaoke_train.runlog import RunLog, provenance
from syncd.errors import ProblemCode
from syncd.state import decisions
from tests.fakes.wandb_server import WandbServer
from tests.faults.rig import LOCAL, Rig, begun, write
from tests.patience import until
from tests.syncd.viewer import needs_trackio

pytestmark = needs_trackio


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(provenance, "provenance", lambda argv: {"host": "here"})
    with WandbServer(tmp_path / "server") as server, Rig(tmp_path, server) as rig:
        rig.go_by(LOCAL)
        yield rig


@pytest.fixture
def small_disk(rig: Rig) -> Iterator[Path]:
    """The store's folder is a file system of some megabytes."""
    rig.store.mkdir()
    options = ["-t", "tmpfs", "-o", "size=4m,mode=0755", "tmpfs", str(rig.store)]
    mounted = shutil.which("mount") and subprocess.run(["mount", *options], capture_output=True)
    if not mounted or mounted.returncode:
        pytest.skip("mounting a tmpfs takes root and CAP_SYS_ADMIN")
    try:
        yield rig.store
    finally:
        rig.close()
        subprocess.run(["umount", "--lazy", str(rig.store)], check=True, capture_output=True)


def database(rig: Rig) -> Path:
    return rig.store / "songs.db"


def says(rig: Rig, *words: str) -> None:
    """Wait until `status` says it, of the store or of a run."""

    def said() -> bool:
        status = rig.status()
        told = f"{status.connectivity_words} {status.connectivity_remedy}"
        told += "".join(f"{run.problem} {run.remedy}" for run in status.runs)
        return all(word in told for word in words)

    until(said, f"{words}: {rig.said()}", 90, every=0.2)  # SQLite waits 30 s for a lock


def ends_well(rig: Rig, log: RunLog) -> None:
    log.close()
    rig.await_end(log)
    rig.assert_same(log)
    assert rig.running
    assert "Traceback" not in rig.said()


def test_while_another_process_holds_it_records_wait(rig: Rig) -> None:
    log = begun(rig, 8)
    with closing(sqlite3.connect(database(rig), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        write(log, 8, start=8)
        says(rig, "can't be used: database is locked")
    ends_well(rig, log)


def test_a_full_disk_is_said_and_waited_for(rig: Rig, small_disk: Path) -> None:
    log = begun(rig, 8)
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(b"x" * (8 << 20))
    write(log, 200, start=8)
    says(rig, "can't be used: ", "disk")  # is full; or an I/O error, where its index can't grow
    filler.unlink()
    ends_well(rig, log)


def test_a_picture_that_finds_no_room_is_waited_for(rig: Rig, small_disk: Path) -> None:
    """Its row would find some, and would say for ever that the picture is missing."""
    log = begun(rig, 8)
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(b"x" * (8 << 20))
    with filler.open("r+b") as file:
        file.truncate(filler.stat().st_size - (512 << 10))
    picture = rig.folder / "noise.png"
    Image.effect_noise((1000, 1000), 50).save(picture)
    log.media(8, "noise", picture)
    says(rig, "can't be used: No space left", "Make room on its disk")
    filler.unlink()
    log.close()
    rig.await_end(log)
    assert rig.run(log.run_id)["history"][9]["noise"]["_type"] == "image-file"
    (kept,) = (path for path in (small_disk / "media").rglob("*") if path.is_file())
    assert kept.read_bytes() == picture.read_bytes()


def test_a_store_that_takes_no_writes_is_said_and_waited_for(rig: Rig, small_disk: Path) -> None:
    log = begun(rig, 8)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    write(log, 8, start=8)
    says(rig, "can't be used: ", "Make it writable")
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    ends_well(rig, log)


def test_a_damaged_file_is_said_and_once_it_is_put_back_the_run_goes_on(rig: Rig) -> None:
    log = begun(rig, 8)
    rig.kill()
    whole = database(rig).read_bytes()
    database(rig).write_bytes(b"no database" * 1000)
    rig.start()
    write(log, 8, start=8)
    says(rig, "can't be used: file is not a database (songs.db)", "Move that file away")
    with RunLog.create(rig.logs, project="others") as other:  # which it does not hold back
        write(other, 3)
    rig.await_all(other)
    database(rig).write_bytes(whole)
    ends_well(rig, log)


@pytest.mark.parametrize("removed", ["file", "folder"])
def test_what_was_removed_is_a_decision_and_kept_again_when_that_is_asked_for(
    removed: str, rig: Rig
) -> None:
    log = begun(rig, 8)
    if removed == "folder":
        shutil.rmtree(rig.store)
    else:
        for file in rig.store.glob("songs.db*"):
            file.unlink()
    write(log, 8, start=8)
    until(lambda: rig.status().decisions, rig.said(), every=0.2)
    assert rig.run_status(log.run_id).code == ProblemCode.LOST_AT_SERVER
    decisions.retry(rig.state(), log.run_id)
    ends_well(rig, log)

"""A log folder in which each run makes a folder of its own, as hydra and sweeps do, under a daemon
that is killed while they come and go."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from karaoke_train.runlog import RunLog
from syncd.report.status import RunState
from tests.fakes.wandb_server import WandbServer
from tests.faults.rig import LOCAL, WAV, Rig, write
from tests.syncd.viewer import needs_trackio


@pytest.fixture(params=["auto", pytest.param(LOCAL, marks=needs_trackio)])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with (
        WandbServer(tmp_path / "server") as server,
        Rig(tmp_path, server, KARAOKE_SYNCD_RECURSIVE="true") as rig,
    ):
        rig.go_by(request.param)
        yield rig


def begin(rig: Rig, name: str) -> RunLog:
    return RunLog.create(rig.logs / name, project="songs", run_name=name)


def test_every_record_of_every_folder_is_there_once(rig: Rig) -> None:
    rig.start()
    with begin(rig, "2024-01-15/14-30-22") as first, begin(rig, "sweep/lr=0.1/logs") as second:
        write(first, 12)
        sound = first.path.parent / "media" / first.run_id / "a.wav"
        sound.parent.mkdir(parents=True)
        sound.write_bytes(WAV)
        rig.await_all(first)
        rig.kill()
        write(second, 12)
        rig.start()
        with begin(rig, "sweep/lr=0.2/logs") as third:
            write(third, 12)
            rig.await_all(first, second, third)
    for log in (first, second, third):
        rig.await_end(log)
        rig.assert_same(log)
    assert {run.state for run in rig.status().runs} == {RunState.UPLOADED}


def test_a_folder_that_is_removed_and_one_that_leads_out_stop_nobody(rig: Rig) -> None:
    rig.start()
    with begin(rig, "gone") as gone:
        write(gone, 3)
    rig.await_end(gone)
    with begin(rig, "stays") as stays:
        shutil.rmtree(gone.path.parent)
        outside = rig.folder / "outside"
        outside.mkdir()
        (outside / "training_log_secret.jsonl").write_text('{"type":"config"}\n')
        (rig.logs / "link").symlink_to(outside)
        write(stays, 12)
        rig.await_all(stays)
    rig.await_end(stays)
    rig.assert_same(stays)
    assert [run.run_id for run in rig.status().runs] == [stays.run_id]

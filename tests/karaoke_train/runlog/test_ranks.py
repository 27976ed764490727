"""Of the ranks of a distributed training, one keeps a log."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from karaoke_train.runlog import RunLog, ranks
from karaoke_train.runlog.ranks import other_rank
from tests.karaoke_train.runlog.files import records_of, run_python, warned


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, ""),
        ({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}, ""),
        ({"RANK": "1", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}, "RANK=1"),
        ({"RANK": "1"}, ""),  # somebody's own variable
        ({"RANK": "1", "WORLD_SIZE": "1"}, ""),
        ({"RANK": "high", "WORLD_SIZE": "2"}, ""),
        ({"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2"}, "LOCAL_RANK=1"),  # Lightning
        ({"LOCAL_RANK": "0", "NODE_RANK": "1", "WORLD_SIZE": "4"}, "NODE_RANK=1"),
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "4"}, "SLURM_PROCID=3"),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, ""),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, ""),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, "OMPI_COMM_WORLD_RANK=1"),
        # torchrun in one Slurm task per node: rank 0 is on the first, and torchrun says so
        ({"RANK": "0", "WORLD_SIZE": "8", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, ""),
    ],
)
def test_a_launchers_variables_say_which_rank_a_process_is(
    environ: dict[str, str], found: str
) -> None:
    assert other_rank(environ) == found


@pytest.fixture
def rank_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "_told", False)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")


@pytest.mark.usefixtures("rank_one")
def test_another_rank_is_told_once_and_all_its_calls_do_nothing(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG")
    folder = tmp_path / "logs"
    with warned("this process is no rank 0 (RANK=1)"):
        with RunLog.create(folder, project="songs", run_id="mine", config={"lr": 1}) as log:
            log.train(1, 0.0, {"train/loss": 1.0})
            log.log({"loss": 1.0})
            log.epoch_summary(1)
            log.media(1, "val/roll", picture)
            log.update_config({"seed": 1})
            assert (log.project, log.run_id, log.config) == ("songs", "mine", {"lr": 1, "seed": 1})
        log.close()
        assert log.reopen()
        log.close(final=False)
        log.val(1, 0.0, {})
        RunLog.resume(folder / "training_log_of_rank_0.jsonl").close()
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


@pytest.mark.usefixtures("rank_one")
def test_each_rank_can_have_a_log_of_its_own(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path, rank_zero_only=False)
    log.close()
    RunLog.resume(log.path, rank_zero_only=False).close()
    assert len(records_of(log.path)) == 4


@pytest.mark.process
def test_ranks_that_all_create_the_run_make_one_file_and_leave_none_to_end_as_a_crash(
    tmp_path: Path,
) -> None:
    code = """
import subprocess, warnings
warnings.simplefilter("ignore")
log = RunLog.create(sys.argv[1], run_id="shared")
log.train(1, 0.0, {"rank": int(os.environ["RANK"])})
if os.environ["RANK"] == "0":
    environ = {**os.environ, "RANK": "1"}
    subprocess.run([sys.executable, *sys.orig_argv[1:]], env=environ, check=True)
log.close()
"""
    environ = {**os.environ, "RANK": "0", "WORLD_SIZE": "2"}
    returned, _, err = run_python(code, tmp_path, env=environ)
    assert returned == 0, err
    (path,) = tmp_path.glob("*.jsonl")
    kinds = [(record["type"], record.get("rank")) for record in records_of(path)]
    assert kinds == [("config", None), ("train", 0), ("end", None)]

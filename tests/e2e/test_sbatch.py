"""docs/train.sbatch as Slurm would run it, with stand-ins for commands that are not here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "train.sbatch"
# What Slurm's commands and the training do, as far as the script can tell
COMMANDS = {
    "srun": '#!/bin/sh\nexec "$@"\n',
    "scontrol": '#!/bin/sh\necho "$@" >> requeued\n',
    "karaoke-train": '#!/bin/sh\necho "$@" >> trained\nexit "$TRAINING_ENDS_WITH"\n',
}


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """The folder that the job was submitted from."""
    (tmp_path / "bin").mkdir()
    for name, text in COMMANDS.items():
        command = tmp_path / "bin" / name
        command.write_text(text)
        command.chmod(0o755)
    return tmp_path


def start(job: Path, *, training_ends_with: int) -> int:
    env = {
        "PATH": f"{job / 'bin'}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "7",
        "TRAINING_ENDS_WITH": str(training_ends_with),
    }
    return subprocess.run(["bash", SCRIPT, "--epochs", "9"], cwd=job, env=env).returncode


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_a_job_at_its_limit_is_requeued_and_its_training_goes_on(job: Path) -> None:
    assert start(job, training_ends_with=130) == 130
    assert lines(job / "requeued") == ["requeue 7"]
    (job / "checkpoints" / "7" / "run" / "checkpoint-3").mkdir(parents=True)
    assert start(job, training_ends_with=0) == 0
    assert lines(job / "requeued") == ["requeue 7"]
    first, second = lines(job / "trained")
    assert first.endswith(f"--log_dir {job}/logs --checkpoint_dir {job}/checkpoints/7 --epochs 9")
    assert "--resume" not in first
    assert second == first.replace("--epochs", "--resume --epochs")


@pytest.mark.parametrize("code", [0, 1, 2, 137])
def test_a_job_that_ended_by_itself_is_not_requeued(job: Path, code: int) -> None:
    assert start(job, training_ends_with=code) == code
    assert lines(job / "requeued") == []

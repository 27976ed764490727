"""docs/train.sbatch as Slurm would run it, with stand-ins for commands that are not here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.karaoke_train.runlog.files import records_of
from tests.measured import MEASURED
from tests.patience import WAIT, patience, until
from tests.processes import descendants

SCRIPT = Path(__file__).parents[2] / "docs" / "train.sbatch"
# What Slurm's commands and the training do, as far as the script can tell
COMMANDS = {
    "srun": '#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n',
    "scontrol": '#!/bin/sh\n[ "$1" = show ] && echo node1 && exit\necho "$@" >> requeued\n',
    "karaoke-train": '#!/bin/sh\necho "$@" >> trained\nexit "$TRAINING_ENDS_WITH"\n',
    # Ends with 1 whatever its trainings end with, of which the last wrote this to its log
    "torchrun": """#!/bin/sh
echo "$@" >> trained
sleep 0.05  # files that are written within a tick of the kernel's clock are of equal age
if [ -n "$LAST_LINE" ]; then
    mkdir -p checkpoints/7/today/checkpoint-3 logs
    echo "$LAST_LINE" >> logs/training_log_today.jsonl
fi
exit 1
""",
}
INTERRUPTED = '{"type":"end","status":"interrupted","exit_code":130}'
FAILED = '{"type":"end","status":"failed","exit_code":1}'
ON_TWO_GPUS = {"SLURM_GPUS_ON_NODE": "2", "SLURM_NNODES": "1", "SLURM_JOB_NODELIST": "node[1]"}


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """The folder that the job was submitted from."""
    (tmp_path / "bin").mkdir()
    for name, text in COMMANDS.items():
        command = tmp_path / "bin" / name
        command.write_text(text)
        command.chmod(0o755)
    return tmp_path


def environment(job: Path, **variables: str) -> dict[str, str]:
    return {"PATH": f"{job / 'bin'}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", **variables}


def start(job: Path, *, training_ends_with: int = 0, **variables: str) -> int:
    env = environment(job, TRAINING_ENDS_WITH=str(training_ends_with), **variables)
    return subprocess.run(["bash", SCRIPT, "--epochs", "9"], cwd=job, env=env).returncode


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.process
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


@pytest.mark.process
@pytest.mark.parametrize("code", [0, 1, 2, 137])
def test_a_job_that_ended_by_itself_is_not_requeued(job: Path, code: int) -> None:
    assert start(job, training_ends_with=code) == code
    assert lines(job / "requeued") == []


@pytest.mark.process
def test_a_job_on_several_gpus_at_its_limit_is_requeued_though_torchrun_ends_with_1(
    job: Path,
) -> None:
    assert start(job, **ON_TWO_GPUS, LAST_LINE=INTERRUPTED) == 1
    assert lines(job / "requeued") == ["requeue 7"]
    # the part that goes on fails before it writes a line: it would be requeued for ever
    assert start(job, **ON_TWO_GPUS, LAST_LINE="") == 1
    assert lines(job / "requeued") == ["requeue 7"]
    first, second = lines(job / "trained")
    assert "--nnodes=1 --nproc-per-node=2 --rdzv-id=7" in first
    assert "--rdzv-endpoint=node1:20007" in first
    assert f"{job}/bin/karaoke-train --offline" in first
    assert second == first.replace("--epochs", "--resume --epochs")


@pytest.mark.process
def test_a_job_on_several_gpus_whose_training_failed_is_not_requeued(job: Path) -> None:
    assert start(job, **ON_TWO_GPUS, LAST_LINE=FAILED) == 1
    assert lines(job / "requeued") == []


# Ends as karaoke-train does: on SIGTERM after its step, with a checkpoint and with 130
TRAINING = f"""#!{sys.executable}
import os, pathlib, signal, sys, time, warnings
from karaoke_train.runlog import RunLog
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
warnings.simplefilter("ignore")  # rank 1 is told that it keeps no log
words = sys.argv[1:]
log = RunLog.create(words[words.index("--log_dir") + 1], run_id="job7")
place = pathlib.Path(words[words.index("--checkpoint_dir") + 1])
step = 0
while not asked:
    log.train(step, 0, {{"train/loss": 1.0}})
    step += 1
    time.sleep(0.05)
if os.environ["RANK"] == "0":
    (place / log.path.stem.removeprefix("training_log_") / "checkpoint-1").mkdir(parents=True)
log.close("interrupted")
sys.exit(130)
"""


@pytest.mark.process
@pytest.mark.timeout(patience(180))
def test_sigterm_to_a_real_torchrun_has_the_job_requeued(job: Path) -> None:
    (job / "bin" / "karaoke-train").write_text(TRAINING)
    # of this environment, whatever PATH has
    run = f"exec {sys.executable} -m torch.distributed.run"
    (job / "bin" / "torchrun").write_text(f'#!/bin/sh\n{run} "$@"\n')
    (job / "bin" / "scontrol").write_text(COMMANDS["scontrol"].replace("node1", "localhost"))
    env = environment(job, **ON_TWO_GPUS, OMP_NUM_THREADS="1", **MEASURED)
    env["PYTHONPATH"] = str(SCRIPT.parents[1])
    script = subprocess.Popen(["bash", SCRIPT], cwd=job, env=env, start_new_session=True)
    try:
        until(lambda: any(len(records_of(p)) > 3 for p in logs(job)), "it trains", 3 * WAIT)
        for pid in descendants(script.pid):  # as Slurm: to every process of the step
            os.kill(pid, signal.SIGTERM)
        assert script.wait(patience(60)) == 1
    finally:
        if script.poll() is None:
            os.killpg(script.pid, signal.SIGKILL)
            script.wait()
    assert records_of(*logs(job))[-1]["status"] == "interrupted"
    assert lines(job / "requeued") == ["requeue 7"]


def logs(job: Path) -> list[Path]:
    return list((job / "logs").glob("training_log_*.jsonl"))

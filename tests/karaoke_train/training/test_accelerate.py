"""accelerate's own Accelerator, our tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from accelerate import Accelerator

from karaoke_train.accelerate import RunLogTracker
from karaoke_train.runlog import RunLog


def records_of(log: RunLog) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in log.path.read_bytes().splitlines()]


def test_an_accelerators_metrics_and_config_are_the_runs(tmp_path: Path) -> None:
    tracker = RunLogTracker("songs", folder=tmp_path / "logs", tags=["a"])
    accelerator = Accelerator(cpu=True, log_with=tracker)
    assert not (tmp_path / "logs").exists()
    accelerator.init_trackers("ignored", config={"lr": 0.5})
    accelerator.log({"loss": 1.0, "epoch": 0})
    accelerator.log({"val_loss": 2.0, "epoch": 1}, step=10)
    accelerator.log({"loss": 3.0})
    accelerator.end_training()
    log = accelerator.get_tracker("karaoke_train", unwrap=True)
    first, second, *records, end = records_of(log)
    assert (first["project"], first["tags"], second["config"]) == ("songs", ["a"], {"lr": 0.5})
    found = [{k: v for k, v in record.items() if k != "timestamp"} for record in records]
    assert found == [
        {"type": "train", "step": 0, "epoch": 0, "loss": 1.0},
        {"type": "val", "step": 10, "epoch": 1, "val_loss": 2.0},
        {"type": "train", "step": 11, "loss": 3.0},
    ]
    assert end["status"] == "finished"


def test_a_run_that_is_given_goes_on_after_its_end(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path / "logs", project="songs")
    accelerator = Accelerator(cpu=True, log_with=RunLogTracker(log=log))
    accelerator.init_trackers("ignored")
    accelerator.end_training()
    accelerator.log({"test_acc": 0.5})
    accelerator.end_training()
    kinds = [record["type"] for record in records_of(log)]
    assert kinds == ["config", "end", "config", "train", "end"]


def test_a_folder_is_no_log() -> None:
    with pytest.raises(TypeError, match=r"a RunLog is needed.*not 'logs'"):
        RunLogTracker(log="logs")  # type: ignore[arg-type]

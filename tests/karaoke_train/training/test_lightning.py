from __future__ import annotations

import signal
from argparse import Namespace
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch

from karaoke_train.runlog import RunLog

pytest.importorskip("lightning", reason="Lightning is optional")

import lightning.pytorch as pl

from karaoke_train.training.lightning import LightningRunLog


class Line(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        loss = (self.weight * batch - 2 * batch).square().mean()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: torch.Tensor, index: int) -> None:
        self.log("val_loss", (self.weight * batch - 2 * batch).square().mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 1e-3)


pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about workers and batches


class Wordy(Line):
    """A module with hyperparameters, and metrics under every kind of name."""

    def __init__(self, lr: float = 1e-3, width: int = 4) -> None:
        super().__init__()
        self.save_hyperparameters()

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        loss = super().training_step(batch, index)
        self.log_dict({"loss": loss, "train_loss": loss + 1, "type": 3.0})
        return loss

    def test_step(self, batch: torch.Tensor, index: int) -> None:
        self.log("test_acc", 0.5)


def trainer_for(log: RunLog, **options: Any) -> pl.Trainer:
    settings: dict[str, Any] = {
        "max_epochs": 2,
        "logger": LightningRunLog(log),
        "log_every_n_steps": 1,
        "accelerator": "cpu",
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(**{**settings, **options})


def batches() -> Any:
    return torch.utils.data.DataLoader(torch.ones(4, 1), batch_size=2)


def records_of(log: RunLog) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in log.path.read_bytes().splitlines()]


def test_lightning_trainer_writes_train_and_val_records(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path / "logs", project="lines")
    trainer_for(log).fit(Line(), batches(), batches())
    records = records_of(log)
    kinds = [record["type"] for record in records]
    assert kinds.count("train") == 4
    assert kinds.count("val") == 2
    assert kinds[-1] == "end"
    assert records[-1]["status"] == "finished"
    assert all("val/loss" in r for r in records if r["type"] == "val")
    assert all("train/loss" in r for r in records if r["type"] == "train")


def test_every_stage_goes_on_with_the_run_and_its_last_record_is_its_end(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path / "logs", project="lines")
    trainer, module = trainer_for(log), Wordy()
    trainer.validate(module, batches(), verbose=False)
    trainer.fit(module, batches(), batches())
    trainer.test(module, batches(), verbose=False)
    records = records_of(log)
    kinds = [record["type"] for record in records]
    epoch = ["train", "train", "val"]
    assert [kind for kind in kinds if kind != "config"] == [
        *("val", "end"),
        *epoch,
        *epoch,
        "end",
        *("val", "end"),
    ]
    assert {r["status"] for r in records if r["type"] == "end"} == {"finished"}
    assert records[-2]["test/acc"] == 0.5
    assert {r["attempt"] for r in records if r["type"] == "config"} == {1}


def test_a_with_block_around_the_stages_ends_the_run_once(tmp_path: Path) -> None:
    with RunLog.create(tmp_path / "logs", project="lines") as log:
        trainer, module = trainer_for(log), Wordy()
        trainer.fit(module, batches(), batches())
        trainer.test(module, batches(), verbose=False)
    trainer.validate(module, batches(), verbose=False)  # and after it, all the same
    kinds = [record["type"] for record in records_of(log)]
    assert kinds.count("end") == 2
    assert kinds[-4:] == ["end", "config", "val", "end"]


def test_each_metric_has_a_name_of_its_own_and_the_user_is_told_once(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path / "logs", project="lines")
    with pytest.warns(UserWarning, match="'train_loss' is written as") as told:
        trainer_for(log).fit(Wordy(), batches(), batches())
    found = [record for record in records_of(log) if record["type"] == "train"]
    assert len(found) == 4
    for record in found:
        assert record["train/train_loss"] == pytest.approx(record["train/loss"] + 1, abs=1e-5)
        assert record["train/type"] == 3.0
    assert sum("is written as" in str(warning.message) for warning in told) == 1


def test_hyperparameters_come_into_the_runs_config_once(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path / "logs", project="lines", config={"mine": 1})
    with log:
        trainer, module = trainer_for(log), Wordy(lr=0.5)
        trainer.fit(module, batches())
        trainer.test(module, batches(), verbose=False)
    configs = [r["config"] for r in records_of(log) if r["type"] == "config"]
    assert configs == [{"mine": 1}, {"mine": 1, "lr": 0.5, "width": 4}]


def test_a_namespace_of_hyperparameters_is_a_config_too(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path / "logs", project="lines")
    LightningRunLog(log).log_hyperparams(Namespace(lr=0.5))
    assert log.config == {"lr": 0.5}
    log.close()


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "failed"), (KeyboardInterrupt, "interrupted")]
)
def test_a_stage_that_breaks_off_ends_the_run_as_it_broke(
    tmp_path: Path, error: type[BaseException], status: str
) -> None:
    class Broken(Line):
        def on_train_epoch_end(self) -> None:
            raise error

    log = RunLog.create(tmp_path / "logs", project="lines")
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises((error, SystemExit)):
            trainer_for(log).fit(Broken(), batches())
    finally:
        signal.signal(signal.SIGINT, handler)  # which Lightning ignores from then on
    assert records_of(log)[-1]["status"] == status


def test_checkpoints_are_in_the_log_folder_by_project_and_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where they were before
    log = RunLog.create(tmp_path / "logs", project="lines")
    trainer = trainer_for(log, max_epochs=1, enable_checkpointing=True)
    trainer.fit(Line(), batches())
    [found] = tmp_path.rglob("*.ckpt")
    assert found.parent == tmp_path / "logs" / "lines" / log.run_id / "checkpoints"
    assert trainer.log_dir == str(tmp_path / "logs")  # what LightningCLI asks for


def test_a_rank_that_keeps_no_log_names_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert LightningRunLog(RunLog.create(tmp_path / "logs", project="lines")).save_dir is None


def test_what_is_logged_without_a_step_is_at_the_last_one(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path / "logs", project="lines")
    logger = LightningRunLog(log)
    logger.log_metrics({"loss": 1.0, "epoch": 2}, step=5)
    logger.log_metrics({"val_loss": 1.0})
    logger.experiment.close()
    metrics = [r for r in records_of(log) if r["type"] in ("train", "val")]
    assert [(r["step"], r["epoch"]) for r in metrics] == [(5, 2.0), (5, 2.0)]


def test_a_folder_is_no_log() -> None:
    with pytest.raises(TypeError, match=r"a RunLog is needed.*not 'logs'"):
        LightningRunLog("logs")  # type: ignore[arg-type]

"""Anybody's Trainer, our callback: one line, one record log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import torch
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from karaoke_train.runlog import RunLog
from karaoke_train.training.runlog_callback import RunLogCallback


class Doubling(Dataset[dict[str, torch.Tensor]]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        x = torch.tensor([float(index)])
        return {"x": x, "labels": 2 * x}


class Line(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        y = x * self.weight
        return {"loss": (y - labels).square().mean(), "y": y}


def trained(tmp_path: Path, callback_options: dict[str, Any], **options: Any) -> list[Any]:
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "out"),
        per_device_train_batch_size=4,
        num_train_epochs=2,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        **options,
    )
    with RunLog.create(tmp_path / "logs", project="lines") as log:
        trainer = Trainer(
            model=Line(),
            args=arguments,
            train_dataset=Doubling(),
            eval_dataset=Doubling(),
            callbacks=[RunLogCallback(log, **callback_options)],
        )
        trainer.train()
    return [orjson.loads(line) for line in log.path.read_bytes().splitlines()]


def test_steps_validations_and_epochs_become_records_in_order(tmp_path: Path) -> None:
    records = trained(tmp_path, {}, eval_strategy="epoch")
    kinds = [record["type"] for record in records]
    epoch = ["train", "train", "val", "epoch_summary"]
    assert kinds == ["config", *epoch, *epoch, "end"]
    assert [r["step"] for r in records if r["type"] == "train"] == [1, 2, 3, 4]
    assert all("train/loss" in r for r in records if r["type"] == "train")
    assert all("val/loss" in r for r in records if r["type"] == "val")


def test_epoch_summary_is_the_mean_of_its_steps_and_the_last_validation(tmp_path: Path) -> None:
    records = trained(tmp_path, {}, eval_strategy="epoch")
    losses = [r["train/loss"] for r in records if r["type"] == "train"]
    validations = [r["val/loss"] for r in records if r["type"] == "val"]
    summaries = [r for r in records if r["type"] == "epoch_summary"]
    assert [s["epoch"] for s in summaries] == [1, 2]
    assert [s["train_loss"] for s in summaries] == [sum(losses[:2]) / 2, sum(losses[2:]) / 2]
    assert [s["val_loss"] for s in summaries] == validations


def test_training_without_validation_still_has_epoch_summaries(tmp_path: Path) -> None:
    kinds = [record["type"] for record in trained(tmp_path, {})]
    epoch = ["train", "train", "epoch_summary"]
    assert kinds == ["config", *epoch, *epoch, "end"]


def test_pictures_become_media_records(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG")
    records = trained(
        tmp_path, {"pictures": lambda step: {"val/roll": picture}}, eval_strategy="epoch"
    )
    media = [record for record in records if record["type"] == "media"]
    assert [record["step"] for record in media] == [2, 4]
    assert {record["key"] for record in media} == {"val/roll"}


def test_other_ranks_write_nothing() -> None:
    callback = RunLogCallback(None)
    state = type("State", (), {"is_world_process_zero": True, "global_step": 1, "epoch": 1.0})()
    callback.on_log(None, state, None, {"loss": 1.0})  # type: ignore[arg-type]
    callback.on_epoch_end(None, state, None)  # type: ignore[arg-type]
    callback.on_evaluate(None, state, None)  # type: ignore[arg-type]

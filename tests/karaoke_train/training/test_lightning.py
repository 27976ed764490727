from __future__ import annotations

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


@pytest.mark.filterwarnings("ignore")  # Lightning's advice about workers and batches
def test_lightning_trainer_writes_train_and_val_records(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path / "logs", project="lines")
    trainer = pl.Trainer(
        max_epochs=2,
        logger=LightningRunLog(log),
        log_every_n_steps=1,
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    batches = torch.utils.data.DataLoader(torch.ones(4, 1), batch_size=2)
    trainer.fit(Line(), batches, batches)
    records = [orjson.loads(line) for line in log.path.read_bytes().splitlines()]
    kinds = [record["type"] for record in records]
    assert kinds.count("train") == 4
    assert kinds.count("val") == 2
    assert kinds[-1] == "end"
    assert records[-1]["status"] == "finished"
    assert all("val/loss" in r for r in records if r["type"] == "val")
    assert all("train/loss" in r for r in records if r["type"] == "train")

"""What the terminal says of an epoch."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from karaoke_train.training.callbacks import ProgressBar


def test_an_epoch_without_a_logged_loss_claims_none(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar()
    args = SimpleNamespace(num_train_epochs=2)
    state = SimpleNamespace(is_world_process_zero=True, max_steps=4, global_step=0, epoch=1.0)
    bar.on_train_begin(args, state, None)  # type: ignore[arg-type]
    bar.on_log(args, state, None, {"eval_loss": 2.0})  # type: ignore[arg-type]
    bar.on_log(args, state, None, {"loss": 1.5})  # type: ignore[arg-type]
    bar.on_log(args, state, None, {"eval_loss": 1.0})  # type: ignore[arg-type]
    bar.close()
    said = [line for line in capsys.readouterr().err.splitlines() if "epoch" in line]
    assert said == ["epoch 1/2  val loss 2.000", "epoch 1/2  loss 1.500  val loss 1.000"]

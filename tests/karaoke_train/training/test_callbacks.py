"""What the terminal says of an epoch, and when a signal is a second one."""

from __future__ import annotations

import os
import signal
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace

import pytest

from karaoke_train.training import callbacks
from karaoke_train.training.callbacks import ProgressBar, StopOnSignal


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


@pytest.mark.parametrize("launched", [True, False])
def test_a_signal_that_torchrun_hands_on_too_is_no_second_one(
    launched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if launched:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "7")
    else:
        monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    again: AbstractContextManager[object] = (
        nullcontext() if launched else pytest.raises(KeyboardInterrupt)
    )
    with StopOnSignal() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        with again:
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.caught is signal.SIGTERM
        if launched:  # later, it is somebody who has no time
            monkeypatch.setattr(callbacks, "SAME_SIGNAL", 0.0)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)

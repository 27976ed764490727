"""The names by which other programs import what is ours, wherever it lives."""

from __future__ import annotations

import subprocess
import sys

import pytest


def test_the_callback_for_transformers_has_its_public_name() -> None:
    from karaoke_train.callback import RunLogCallback
    from karaoke_train.training import runlog_callback

    assert RunLogCallback is runlog_callback.RunLogCallback


def test_the_logger_for_lightning_has_its_public_name() -> None:
    pytest.importorskip("lightning")
    from karaoke_train.lightning import LightningRunLog
    from karaoke_train.training import lightning

    assert LightningRunLog is lightning.LightningRunLog


def test_the_run_log_and_the_annotations_have_their_public_names() -> None:
    import karaoke_train
    from karaoke_train import annotations, runlog

    assert karaoke_train.RunLog is runlog.RunLog
    assert callable(annotations.read)
    assert callable(annotations.write)


@pytest.mark.parametrize("name", ["annotations", "runlog"])
def test_a_module_is_found_in_the_package_whatever_was_imported_before(name: str) -> None:
    code = f"from karaoke_train import {name} as found; assert found.__name__.endswith({name!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()

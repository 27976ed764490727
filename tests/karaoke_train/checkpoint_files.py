"""The files that a checkpoint of the Trainer's has, for tests that train nothing."""

from __future__ import annotations

from pathlib import Path

FILES = (
    "config.json",
    "model.safetensors",
    "trainer_state.json",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
)


def touch_checkpoint(folder: Path) -> None:
    """Make them, empty, in a folder that is there."""
    for name in FILES:
        (folder / name).touch()

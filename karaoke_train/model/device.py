"""The device that a person names -> the one that torch computes on."""

from __future__ import annotations

import torch


class DeviceError(ValueError):
    """The device asked for isn't there."""


def check_device(device: str) -> None:
    """Raises DeviceError for what is no device's name, and for one that this machine lacks."""
    kind = device.split(":")[0]
    if kind not in ("auto", "cpu", "cuda", "mps"):
        raise DeviceError(f"--device {device}: choose auto, cpu, cuda, cuda:N or mps")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"--device {device}: torch sees no such GPU here; try --device cpu")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"--device {device}: torch sees no Apple GPU here; try --device cpu")


def pick_device(device: str) -> str:
    """The torch device that `auto` stands for; others as they are, `cuda:1` being made visible
    as the only GPU by the command line. Raises DeviceError."""
    check_device(device)
    if device != "auto":
        return device.split(":")[0]
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"

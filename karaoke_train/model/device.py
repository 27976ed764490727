"""The device that a person names -> the one that torch computes on."""

from __future__ import annotations

import re
from typing import Final

import torch

_NAMES: Final = re.compile(r"auto|cpu|mps|cuda(:[0-9]+)?")


class DeviceError(ValueError):
    """The device asked for isn't there."""


def check_device(device: str) -> None:
    """Raises DeviceError for what is no device's name, and for one that this machine lacks."""
    kind = device.split(":")[0]
    if not _NAMES.fullmatch(device):
        raise DeviceError(f"--device {device}: choose auto, cpu, cuda, cuda:N or mps")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"--device {device}: torch sees no such GPU here; try --device cpu")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"--device {device}: torch sees no Apple GPU here; try --device cpu")


def the_only(device: str) -> str:
    """What `cuda:1` is called where CUDA_VISIBLE_DEVICES has made it the only GPU that is seen, as
    the command line does before torch is imported; others as they are."""
    return "cuda" if device.startswith("cuda:") else device


def pick_device(device: str) -> str:
    """The torch device that `auto` stands for; others as they are. Raises DeviceError."""
    check_device(device)
    kind, _, index = device.partition(":")
    if index and int(index) >= torch.cuda.device_count():
        seen = torch.cuda.device_count()
        raise DeviceError(f"--device {device}: torch sees {seen} GPUs here, from {kind}:0 on")
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"

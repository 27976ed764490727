"""What a training writes beside its log, which a full disk may cost, and not the training."""

from __future__ import annotations

import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from safetensors import SafetensorError

from karaoke_train.runlog.warn import warn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What a full disk raises: torch and safetensors have errors of their own for it
UNWRITABLE: Final = (OSError, RuntimeError, SafetensorError)
_NEARLY_FULL: Final = 64 << 20  # bytes


@contextmanager
def spared(place: Path) -> Iterator[None]:
    """Where `place` can't be written, as on a full disk, warn and go on: hours of training are
    worth more than one checkpoint, and the next one is tried again."""
    try:
        yield
    except UNWRITABLE as error:
        warn(
            f"{place} could not be written ({_reason(place, error)}). It is left out, and all "
            "else goes on; make room before the next one."
        )


def _reason(place: Path, error: Exception) -> str:
    with suppress(OSError):
        usage = shutil.disk_usage(next(folder for folder in place.parents if folder.is_dir()))
        if usage.free < _NEARLY_FULL:
            return f"its disk is full, {usage.free >> 20} MiB are left"
    first = str(error).strip().splitlines()[:1]
    return first[0] if first else type(error).__name__

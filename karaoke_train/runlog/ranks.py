"""Which process of a distributed training this is, and the log of one that is not to write."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from karaoke_train.runlog.warn import warn

# A launcher's variables: a process's rank, and how many there are. torchrun, accelerate and
# DeepSpeed set the first pair; Lightning's own launcher LOCAL_RANK, and NODE_RANK beside it.
_LAUNCHERS: Final = (
    ("RANK", "WORLD_SIZE"),
    ("LOCAL_RANK", "WORLD_SIZE"),
    ("NODE_RANK", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
)


def other_rank(environ: Mapping[str, str] | None = None) -> str:
    """What says that this process is not rank 0 of its training, as `RANK=1`; empty where it may
    be. Of torchrun within a Slurm task, torchrun's word counts."""
    environ = os.environ if environ is None else environ
    for rank, size in _LAUNCHERS:
        place, count = _number(environ.get(rank)), _number(environ.get(size))
        if place is None or count is None or count <= 1:  # a lone RANK may be anybody's word
            continue
        if place > 0:
            return f"{rank}={place}"
        if rank == "RANK":  # counts all processes; Slurm's own count may be of nodes
            return ""
    return ""


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def tell_other_rank(what: str) -> None:
    """Say, once per process, that a log was asked for by a rank that keeps none."""
    global _told
    if not _told:
        _told = True
        warn(
            f"this process is no rank 0 ({what}): its run log keeps nothing, since rank 0 writes "
            "one for all. If each process trains by itself and is to have a run of its own, give "
            "rank_zero_only=False."
        )


_told = False


class NoSink:
    """Stands where a Sink would: takes lines, and has no file."""

    path: Final = Path(os.devnull)

    def __init__(self) -> None:
        self._sealed = False

    def write(self, line: bytes, *, last: bool = False) -> bool:
        """As if it were written."""
        if self._sealed:
            return False
        self._sealed = last
        return True

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""
        self._sealed = True

"""The checkpoint that `--resume` goes on from, found again. No torch: what the run was started with
is known before torch is imported, which reads the devices that it may see only then.

checkpoint_dir/<run>/checkpoint-<step>/   the Trainer's own, plus karaoke_run.json
checkpoint_dir/<run>/best/                the model alone, by `save_pretrained`; around a frozen
                                          Whisper its heads and front-end, and the Whisper's name
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from karaoke_train.atomic_file import read_json

RUN_FILE: Final = "karaoke_run.json"
# Files of a checkpoint, all of which the Trainer goes on without, but for the first two
_NEEDED: Final = (
    *("config.json", "model*.safetensors", "trainer_state.json"),
    *("optimizer.pt", "scheduler.pt", "rng_state*.pth"),
)


class CheckpointError(ValueError):
    """A checkpoint that can't be used; the message says which, why and what to do."""


@dataclass(frozen=True)
class Resumable:
    """A checkpoint to go on from, its run's log and the flags it was started with."""

    folder: Path
    log_path: Path
    flags: dict[str, Any]

    @property
    def epochs(self) -> float:
        """Epochs trained so far, 0 when the checkpoint doesn't say."""
        return self._from_state("epoch") or 0.0

    @property
    def step(self) -> int | None:
        """The global step that training goes on from, None when the checkpoint doesn't say."""
        step = self._from_state("global_step")
        return None if step is None else int(step)

    def _from_state(self, key: str) -> float | None:
        try:
            state = read_json(self.folder / "trainer_state.json")
            found = float(state[key])
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None
        return found if math.isfinite(found) else None


def find_resumable(place: Path) -> Resumable:
    """The newest complete checkpoint in `place`: a checkpoint, a run's folder or all runs' folder.

    Raises CheckpointError when there is none.
    """
    written = [*place.glob(RUN_FILE), *place.glob(f"*/{RUN_FILE}"), *place.glob(f"*/*/{RUN_FILE}")]
    found = [path for path in written if _is_whole(path.parent)]
    if not found:
        parts = f" ({written[0].parent} lacks some of its files)" if written else ""
        raise CheckpointError(
            f"nothing to resume in {place}: no checkpoint with a {RUN_FILE} in it{parts}. "
            "Start a new run without --resume, or give --resume the folder of one."
        )
    newest = max(found, key=lambda path: path.stat().st_mtime_ns)
    try:
        content = read_json(newest)
        return Resumable(newest.parent, Path(content["log"]), dict(content["flags"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{newest} is damaged ({error}). Resume from another checkpoint beside it."
        ) from None


def _is_whole(folder: Path) -> bool:
    """Whether a checkpoint has all that training goes on from. One that is in the way of newer ones
    is removed file by file: killed meanwhile, a training would go on without what is missing."""
    return all(any(folder.glob(needed)) for needed in _NEEDED)

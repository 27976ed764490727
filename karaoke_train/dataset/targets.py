"""Notes in, frame targets out: what each 20 ms frame of a segment should say.

Onset and offset targets are triangles around the exact time, not single frames, so that the time
between frames can be read back (Kong et al. 2021, "High-resolution piano transcription with
pedals by regressing onset and offset times").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from karaoke_train.audio.units import FRAME_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from karaoke_train.notes import Note

REACH = 3.0  # frames, 60 ms: half the base of the triangle around an onset or offset


@dataclass(frozen=True)
class Targets:
    """Per frame, all float32 (…, frames): onset, offset in 0..1, voicing 0 or 1, midi."""

    onset: Tensor
    offset: Tensor
    voicing: Tensor
    midi: Tensor


def frame_targets(notes: Sequence[Note], frames: int) -> Targets:
    """Targets of one segment; `notes` in seconds from its start, `frames` its length.

    Frame t stands for the time t * 20 ms: both spectrograms are centred there.
    """
    time = np.arange(frames) * FRAME_SECONDS
    onset, offset, voicing, midi = np.zeros((4, frames), dtype=np.float32)
    for note in notes:
        np.maximum(onset, _triangle(time, note.onset), out=onset)
        np.maximum(offset, _triangle(time, note.offset), out=offset)
        inside = (time >= note.onset) & (time < note.offset)
        voicing[inside] = 1.0
        midi[inside] = note.pitch
    return Targets(*(torch.from_numpy(part) for part in (onset, offset, voicing, midi)))


def _triangle(time: np.ndarray, at: float) -> np.ndarray:
    return np.maximum(0.0, 1.0 - np.abs(time - at) / (REACH * FRAME_SECONDS)).astype(np.float32)

"""Frame targets and the training loss: notes -> what each 20 ms frame should say.

Onset and offset targets are triangles around the exact time, not single frames, so that the time
between frames can be read back (Kong et al. 2021, "High-resolution piano transcription with
pedals by regressing onset and offset times"). Pitch is a softmax over classes a third of a
semitone apart against a Gaussian of 25 cents around the note's pitch (the blur of CREPE, Kim et
al. 2018; CREPE has independent sigmoids, but one voice sings one pitch). That onset and frames
have losses of their own follows Onsets and Frames (Hawthorne et al. 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from karaoke_train.audio.features import FRAME_SECONDS, FeatureSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from karaoke_train.notes import Note

REACH = 3.0  # frames, 60 ms: half the base of the triangle around an onset or offset
PITCH_BLUR = 0.25  # semitones: standard deviation of the pitch target
ONSET_WEIGHT, OFFSET_WEIGHT, VOICING_WEIGHT, PITCH_WEIGHT = 2.0, 1.0, 0.5, 0.25
# Pitch starts at ln(172) = 5.1 nats where the others start below 0.7: hence its small weight.


@dataclass(frozen=True)
class Targets:
    """Per frame, all float32 (…, frames): onset, offset in 0..1, voicing 0 or 1, midi."""

    onset: Tensor
    offset: Tensor
    voicing: Tensor
    midi: Tensor


@dataclass(frozen=True)
class Logits:
    """Per frame: onset, offset, voicing (batch, frames); pitch (batch, frames, classes)."""

    onset: Tensor
    offset: Tensor
    voicing: Tensor
    pitch: Tensor


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


def note_loss(
    logits: Logits, targets: Targets, lengths: Tensor, settings: FeatureSettings
) -> tuple[Tensor, Tensor]:
    """The weighted loss, a scalar, and its four parts (4,): onset, offset, voicing, pitch.

    Means over the batch's unpadded frames; pitch over its voiced frames only.
    """
    frames = targets.onset.shape[1]
    inside = (torch.arange(frames, device=lengths.device) < lengths[:, None]).float()
    parts = torch.stack(
        [
            _masked_bce(logits.onset, targets.onset, inside),
            _masked_bce(logits.offset, targets.offset, inside),
            _masked_bce(logits.voicing, targets.voicing, inside),
            _pitch_loss(logits.pitch, targets, inside, settings),
        ]
    )
    weights = parts.new_tensor([ONSET_WEIGHT, OFFSET_WEIGHT, VOICING_WEIGHT, PITCH_WEIGHT])
    return (parts * weights).sum(), parts.detach()


def _triangle(time: np.ndarray, at: float) -> np.ndarray:
    return np.maximum(0.0, 1.0 - np.abs(time - at) / (REACH * FRAME_SECONDS)).astype(np.float32)


def _masked_bce(logits: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    loss = binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    return (loss * mask).sum() / mask.sum()


def _pitch_loss(
    logits: Tensor, targets: Targets, inside: Tensor, settings: FeatureSettings
) -> Tensor:
    """Cross-entropy against the blurred pitch; a pitch outside the range counts for nothing."""
    known = (targets.midi >= settings.lowest - 0.5) & (targets.midi <= settings.highest + 0.5)
    voiced = targets.voicing * inside * known
    classes = torch.arange(settings.pitch_classes, device=logits.device) / settings.bins
    distance = targets.midi[..., None] - settings.lowest - classes
    wanted = torch.softmax(-0.5 * (distance / PITCH_BLUR).square(), dim=-1)
    loss = -(wanted * torch.log_softmax(logits.float(), dim=-1)).sum(dim=-1)
    return (loss * voiced).sum() / voiced.sum().clamp(min=1.0)

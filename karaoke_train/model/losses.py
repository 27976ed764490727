"""The model's logits and frame targets in, the training loss out.

Pitch is a softmax over classes of a third of a semitone each, against a Gaussian of 25 cents around
the note's pitch (the blur of CREPE, Kim et al. 2018; CREPE has independent sigmoids, but one
voice sings one pitch). That onset and frames have losses of their own follows Onsets and Frames
(Hawthorne et al. 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

if TYPE_CHECKING:
    from karaoke_train.audio.features import FeatureSettings
    from karaoke_train.dataset.targets import Targets

PITCH_BLUR = 0.25  # semitones: standard deviation of the pitch target
ONSET_WEIGHT, OFFSET_WEIGHT, VOICING_WEIGHT, PITCH_WEIGHT = 2.0, 1.0, 0.5, 0.25
# Pitch starts at ln(172) = 5.1 nats where the others start below 0.7: hence its small weight.


@dataclass(frozen=True)
class Logits:
    """Per frame: onset, offset, voicing (batch, frames); pitch (batch, frames, classes)."""

    onset: Tensor
    offset: Tensor
    voicing: Tensor
    pitch: Tensor


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


def _masked_bce(logits: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    loss = binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    return (loss * mask).sum() / mask.sum()


def _pitch_loss(
    logits: Tensor, targets: Targets, inside: Tensor, settings: FeatureSettings
) -> Tensor:
    """Cross-entropy against the blurred pitch; a pitch outside the range counts for nothing."""
    known = (targets.midi >= settings.midi_min - 0.5) & (targets.midi <= settings.midi_max + 0.5)
    voiced = targets.voicing * inside * known
    classes = (
        torch.arange(settings.pitch_classes, device=logits.device) / settings.bins_per_semitone
    )
    distance = targets.midi[..., None] - settings.midi_min - classes
    wanted = torch.softmax(-0.5 * (distance / PITCH_BLUR).square(), dim=-1)
    loss = -(wanted * torch.log_softmax(logits.float(), dim=-1)).sum(dim=-1)
    return (loss * voiced).sum() / voiced.sum().clamp(min=1.0)

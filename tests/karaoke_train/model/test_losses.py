from __future__ import annotations

import torch

from karaoke_train.audio.features import FeatureSettings
from karaoke_train.dataset.targets import Targets, frame_targets
from karaoke_train.model.losses import Logits, note_loss
from karaoke_train.notes import Note

SETTINGS = FeatureSettings()


def stacked(targets: Targets) -> Targets:
    return Targets(
        *(x[None] for x in (targets.onset, targets.offset, targets.voicing, targets.midi))
    )


def silent_logits(frames: int) -> Logits:
    low = torch.full((1, frames), -5.0)
    return Logits(low, low, low, torch.zeros(1, frames, SETTINGS.pitch_classes))


def test_targets_are_triangles_around_the_exact_times() -> None:
    targets = frame_targets([Note(0.11, 0.3, 62.5)], 20)
    assert targets.onset[5] == targets.onset[6] > targets.onset[4] > 0
    assert targets.onset[9] == 0
    assert targets.voicing.nonzero().flatten().tolist() == list(range(6, 15))
    assert set(targets.midi[6:15].tolist()) == {62.5}


def test_padding_does_not_change_the_loss() -> None:
    short = stacked(frame_targets([Note(0.1, 0.3, 60.0)], 20))
    padded = Targets(*(torch.nn.functional.pad(x, (0, 9), value=1.0) for x in vars(short).values()))
    length = torch.tensor([20])
    a, _ = note_loss(silent_logits(20), short, length, SETTINGS)
    b, _ = note_loss(silent_logits(29), padded, length, SETTINGS)
    torch.testing.assert_close(a, b)


def test_right_pitch_costs_less_than_a_wrong_one_and_near_less_than_far() -> None:
    targets = stacked(frame_targets([Note(0.0, 0.4, 60.0)], 20))
    losses = []
    for midi in (60, 61, 67):
        logits = silent_logits(20)
        logits.pitch[..., (midi - SETTINGS.midi_min) * SETTINGS.bins_per_semitone] = 4.0
        losses.append(float(note_loss(logits, targets, torch.tensor([20]), SETTINGS)[1][3]))
    assert losses[0] < losses[1]
    assert losses[0] < losses[2]


def test_pitch_outside_the_range_counts_for_nothing() -> None:
    targets = stacked(frame_targets([Note(0.0, 0.4, 20.0)], 20))
    _, parts = note_loss(silent_logits(20), targets, torch.tensor([20]), SETTINGS)
    assert float(parts[3]) == 0.0

"""A singer's own tuning: found, taken out before rounding, and written where there is a place."""

from __future__ import annotations

import io
import random
from itertools import pairwise
from pathlib import Path

import mido
import pytest

from karaoke_train import annotations
from karaoke_train.annotations import midi
from karaoke_train.annotations.tuning import in_tune, tuning
from karaoke_train.notes import Note

SCALE = (60, 62, 64, 65, 67, 69, 71, 72, 71, 69, 67, 65, 64, 62, 60)


def sung(sharp: float, wavering: float = 0.1, scale: tuple[int, ...] = SCALE) -> tuple[Note, ...]:
    """A scale of half-second notes, `sharp` semitones off and each up to `wavering` more."""
    rng = random.Random(1)
    pitches = [step + sharp + rng.uniform(-wavering, wavering) for step in scale]
    return tuple(Note(i * 0.5, i * 0.5 + 0.4, pitch) for i, pitch in enumerate(pitches))


@pytest.mark.parametrize("sharp", [-0.4, -0.2, 0.0, 0.13, 0.3, 0.48])
def test_a_singers_tuning_is_found(sharp: float) -> None:
    assert tuning(sung(sharp)) == pytest.approx(sharp, abs=0.05)


@pytest.mark.parametrize("suffix", [".mid", ".txt"])
@pytest.mark.parametrize("sharp", [0.48, 0.5, -0.49, 0.3])
def test_a_scale_sung_off_keeps_its_steps(tmp_path: Path, suffix: str, sharp: float) -> None:
    annotations.write(tmp_path / f"a{suffix}", sung(sharp))
    pitches = [note.pitch for note in annotations.read(tmp_path / f"a{suffix}")]
    steps = [round(b - a, 6) for a, b in pairwise(pitches)]
    assert steps == [b - a for a, b in pairwise(SCALE)]


def test_midi_holds_the_tuning_as_the_channels_fine_tuning() -> None:
    notes = sung(0.25, wavering=0.0)
    file = mido.MidiFile(file=io.BytesIO(midi.render(notes)))
    controls = [(m.control, m.value) for m in file.tracks[0] if m.type == "control_change"]
    assert controls == [(101, 0), (100, 1), (6, 80), (38, 0), (101, 127), (100, 127)]
    assert [m.note for m in file.tracks[0] if m.type == "note_on"] == list(SCALE)
    got = midi.parse(midi.render(notes), Path("a.mid"))
    assert [note.pitch for note in got] == [pitch + 0.25 for pitch in SCALE]


def test_notes_in_tune_are_written_without_a_tuning() -> None:
    file = mido.MidiFile(file=io.BytesIO(midi.render(sung(0.0, wavering=0.0))))
    assert not [m for m in file.tracks[0] if m.type == "control_change"]


def test_few_notes_or_notes_without_agreement_are_rounded_to_the_pianos() -> None:
    assert tuning(()) == 0.0
    assert tuning(sung(0.48)[:4]) == 0.0
    spread = tuple(Note(i, i + 0.5, 60 + i * 0.27) for i in range(20))
    assert in_tune(spread) == (0.0, [int(note.pitch + 0.5) for note in spread])


def test_the_ends_of_midis_range_are_kept() -> None:
    for scale in ((127,) * 8, (0,) * 8):
        notes = tuple(Note(i, i + 0.5, float(pitch)) for i, pitch in enumerate(scale))
        assert in_tune(notes)[1] == list(scale)
    offset, pitches = in_tune(tuple(Note(i, i + 0.5, 126.5) for i in range(8)))
    assert offset == pytest.approx(-0.5)
    assert pitches == [127] * 8


def test_coarse_tuning_and_a_bank_of_controllers_are_followed() -> None:
    track = mido.MidiTrack()
    for control, value in ((101, 0), (100, 2), (6, 66), (99, 1), (98, 8), (6, 3)):
        track.append(mido.Message("control_change", control=control, value=value))
    track.append(mido.Message("note_on", note=60, velocity=64))
    track.append(mido.Message("note_off", note=60, time=480))
    file = mido.MidiFile(tracks=[track])
    held = io.BytesIO()
    file.save(file=held)
    (note,) = midi.parse(held.getvalue(), Path("a.mid"))
    assert note.pitch == 62  # the last controller sets another parameter, not the tuning

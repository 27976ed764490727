from __future__ import annotations

import numpy as np
import pytest

from karaoke_train.audio.features import FeatureSettings
from karaoke_train.inference.doubt import Sketch, doubt
from karaoke_train.model.decode import Posteriors
from karaoke_train.notes import Note

SETTINGS = FeatureSettings()


def heard(pitch: np.ndarray, spread: float = 0.3) -> Sketch:
    """That of a posterior whose peak is at `pitch`, MIDI per frame, and `spread` semitones wide."""
    grid = SETTINGS.midi_min + np.arange(SETTINGS.pitch_classes) / SETTINGS.bins_per_semitone
    peaks = np.exp(-0.5 * ((grid - pitch[:, None]) / spread) ** 2)
    flat = np.ones(len(pitch), np.float32)
    rows = peaks / peaks.sum(axis=1, keepdims=True)
    return Sketch.of(Posteriors(flat, flat, flat, rows.astype(np.float16)), SETTINGS)


def melody(count: int, length: float) -> list[Note]:
    return [Note(k * length, (k + 1) * length, 60.0 + k % 5) for k in range(count)]


def inside(notes: list[Note], slide: float, waver: float) -> np.ndarray:
    """The pitch of each frame: every note falls by `slide` per second, and wavers."""
    time = np.arange(round(notes[-1].offset / 0.02)) * 0.02
    of = [next((n for n in notes if n.onset <= t < n.offset), notes[-1]) for t in time]
    middle = np.array([n.pitch - slide * (t - n.onset) for n, t in zip(of, time, strict=True)])
    return middle + waver * np.sin(2 * np.pi * 5 * time)


@pytest.mark.parametrize(
    ("notes", "slide", "waver", "spread", "why"),
    [
        (melody(10, 0.5), 0.5, 0.15, 0.3, ""),
        (melody(20, 0.2), 1.5, 0.05, 0.3, ""),  # quick, and sung
        (melody(10, 0.4), 5.0, 0.15, 0.3, ""),  # slides, and slowly: glissandi
        (melody(20, 0.16), 6.0, 0.0, 0.3, "it may be speech"),
        (melody(10, 0.5), 0.0, 0.0, 0.3, "it may be an instrument: its pitch is steadier"),
        (melody(10, 0.5), 0.5, 0.15, 2.5, "it may be noise, an instrument or several voices"),
        (melody(4, 0.1), 9.0, 0.0, 2.5, ""),  # too few to tell
        (melody(2, 0.2), 0.0, 0.0, 0.3, ""),  # too few and too short to tell
        (melody(1, 4.0), 0.0, 0.15, 0.3, ""),  # one long note, and sung
        (melody(1, 4.0), 0.0, 0.0, 0.3, "it may be an instrument: its pitch is steadier"),
        (melody(1, 4.0), 0.5, 0.15, 2.5, "it may be noise, an instrument or several voices"),
        (melody(1, 0.3), 0.0, 0.0, 6.0, "it may be noise, an instrument or several voices"),
        (melody(20, 0.1), 0.0, 0.0, 0.3, ""),  # too short to tell
    ],
)
def test_what_is_no_singing_is_said(
    notes: list[Note], slide: float, waver: float, spread: float, why: str
) -> None:
    said = doubt(heard(inside(notes, slide, waver), spread), notes)
    assert said.startswith(why)
    assert bool(said) == bool(why)


def test_silence_holds_no_singing_voice() -> None:
    assert doubt(heard(np.full(50, 60.0)), []) == "no singing voice in it"

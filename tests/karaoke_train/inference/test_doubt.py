from __future__ import annotations

import numpy as np
import pytest

from karaoke_train.inference.doubt import doubt
from karaoke_train.model.decode import Posteriors
from karaoke_train.notes import Note


def heard(pitches: int, frames: int = 500) -> Posteriors:
    """Frames in which the pitch may be any of so many, all as likely."""
    pitch = np.zeros((frames, 172), np.float16)
    pitch[:, :pitches] = 1 / pitches
    flat = np.ones(frames, np.float32)
    return Posteriors(flat, flat, flat, pitch)


def melody(count: int, length: float) -> list[Note]:
    return [Note(k * length, (k + 1) * length, 60.0 + k % 5) for k in range(count)]


@pytest.mark.parametrize(
    ("pitches", "notes", "why"),
    [
        (4, melody(10, 0.5), ""),
        (4, melody(10, 0.25), ""),
        (4, [], "no singing voice in it"),
        (4, melody(30, 0.15), "it may be speech"),
        (14, melody(10, 0.5), "it may be an instrument, or several voices"),
        (14, melody(4, 0.1), ""),  # too few to tell
    ],
)
def test_what_is_no_singing_is_said(pitches: int, notes: list[Note], why: str) -> None:
    said = doubt(heard(pitches), notes)
    assert said.startswith(why)
    assert bool(said) == bool(why)

"""What a model heard, and the notes of it, in; whether it was singing at all out, in words.

A model made for one singing voice finds notes in speech and in a piano, too. Two things tell them
apart, measured on synthetic songs of every style, piano chords and speech-like syllables: speech
has more notes per sounding second than people sing, and chords spread the pitch posterior. A
single line on an instrument, or whistling, is a melody like any other, and passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from karaoke_train.audio.units import FRAME_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from karaoke_train.model.decode import Posteriors
    from karaoke_train.notes import Note

QUICKEST = 6.2  # notes per sounding second; 60 synthetic songs had 5.9 at most, speech 5.2 to 7.4
WIDEST = 2.45  # nats, mean entropy of the pitch; the same songs had 2.39 at most, chords 2.55 up
ENOUGH = 5  # notes; fewer tell nothing


def doubt(posteriors: Posteriors, notes: Sequence[Note]) -> str:
    """Why the notes may mean nothing, as a clause; "" when they look sung."""
    if not notes:
        return "no singing voice in it"
    if len(notes) < ENOUGH:
        return ""
    if len(notes) / sum(note.duration for note in notes) > QUICKEST:
        return "it may be speech: more notes per second than people sing"
    if _entropy(posteriors, notes) > WIDEST:
        return "it may be an instrument, or several voices: several pitches at once"
    return ""


def _entropy(posteriors: Posteriors, notes: Sequence[Note]) -> float:
    """The mean entropy of the pitch posterior within notes, in nats."""
    within = np.zeros(len(posteriors.onset), dtype=bool)
    for note in notes:
        within[round(note.onset / FRAME_SECONDS) : round(note.offset / FRAME_SECONDS)] = True
    pitch = posteriors.pitch[within].astype(np.float32)
    return float(-(pitch * np.log(pitch + 1e-9)).sum(axis=1).mean()) if len(pitch) else 0.0

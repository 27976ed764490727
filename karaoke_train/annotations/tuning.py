"""How far notes lie from whole semitones, all together: a singer's own tuning.

Few people sing to a reference, and a recording may have been played back fast. Somebody 48 cents
sharp wavers between two semitones of the piano, note by note: rounded to the nearest, a scale
gets broken steps. Rounded relative to the tuning, its intervals stay what was sung.
"""

from __future__ import annotations

from cmath import exp, phase, pi
from math import floor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from karaoke_train.notes import Note

_CERTAIN = 4.6  # Rayleigh's n R^2: chance alone gets there once in a hundred times, as exp(-4.6)
_AUDIBLE = 0.005  # semitones; below it the file's pitches are taken as whole ones


def tuning(notes: Sequence[Note]) -> float:
    """Semitones, from -0.5 up to but without 0.5, by which the notes lie above whole ones.

    The mean direction of the pitches' fractions on the circle, one vote per note; 0 unless they
    agree by Rayleigh's test at 1 % (Mardia and Jupp, Directional Statistics, 6.3.1), so that
    four notes or a melody without a tuning of its own are rounded to the piano's.
    """
    votes = sum(exp(2j * pi * note.pitch) for note in notes)
    if not notes or abs(votes) ** 2 / len(notes) < _CERTAIN:
        return 0.0
    found = phase(votes) / (2 * pi)
    if abs(found) < _AUDIBLE:
        return 0.0
    return -0.5 if found >= 0.5 - 1e-9 else found


def in_tune(notes: Sequence[Note]) -> tuple[float, list[int]]:
    """The tuning of `notes`, and the whole MIDI number of each, halves up, relative to it."""
    offset = tuning(notes)
    return offset, [min(127, max(0, floor(n.pitch - offset + 0.5))) for n in notes]

"""A random generator -> what a foreign singer sings, and how its pitch moves.

Written apart from `karaoke_train.synth`, so that the model meets other rhythms, other glides and
other unsteadiness than those that it learnt from. Lengths are log-normal instead of bars and beats,
pitch follows a smooth step instead of a damped resonance, and wavers by filtered noise. The truth's
pitch is the one that is sung, as annotators hear it, not the one that was meant.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d

from karaoke_train.notes import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from karaoke_train.audio.units import Range

STEPS = (0, 1, -1, 2, -2, 3, -3, 4, -5, 7)
ODDS = (0.2, 0.24, 0.24, 0.1, 0.1, 0.03, 0.03, 0.03, 0.02, 0.01)
SCALE = (0, 2, 4, 5, 7, 9, 11)
LINKED = 0.35  # s; a shorter gap to the next onset is closed by legato labels


@dataclass(frozen=True)
class Habits:
    """A singer's unsteadiness. miss: cents, of single notes. waver: cents, inside of notes.

    glide: s, length of a change of pitch. scoop: share of notes that begin from below.
    vibrato: share of notes over 0.5 s. gap: share of notes that are let go before the next.
    melisma: share of notes on the vowel of the one before.
    """

    miss: float
    waver: float
    glide: Range
    scoop: float
    vibrato: float
    gap: float
    melisma: float


def habits(rng: np.random.Generator) -> Habits:
    """Of someone between a steady singer and an unsteady one."""
    unsteady = rng.uniform()
    return Habits(
        miss=5.0 + 25.0 * unsteady,
        waver=4.0 + 24.0 * unsteady,
        glide=(0.03, 0.05 + 0.1 * rng.uniform()),
        scoop=0.35 * rng.uniform(),
        vibrato=0.8 * rng.uniform() * (1.0 - unsteady),
        gap=0.4 * rng.uniform(),
        melisma=0.25 * rng.uniform(),
    )


@dataclass(frozen=True, slots=True)
class Sung:
    """One note. start, end: s, of its vowel. pitch: MIDI, as sung. first: of its phrase.
    linked: on the vowel of the note before, without a consonant. end follows from what is sung."""

    start: float
    end: float
    pitch: float
    first: bool
    linked: bool


def write(
    rng: np.random.Generator, duration: float, low: float, high: float, how: Habits, longest: float
) -> list[Sung]:
    """A melody between two MIDI pitches. Notes end where the next begins, but for rests and gaps;
    consonants take their time from that end. longest: s, of a note."""
    ladder = [p for p in range(int(np.ceil(low)), int(high) + 1) if (p - int(low)) % 12 in SCALE]
    place, tuning = len(ladder) // 2, rng.uniform(-0.5, 0.5)
    middle = rng.uniform(0.28, 0.55)  # s
    time, notes = rng.uniform(0.2, 0.7), []
    while time < duration - 0.6:
        for index in range(int(rng.integers(4, 12))):
            length = float(np.clip(middle * np.exp(rng.normal(0.0, 0.45)), 0.14, longest))
            if time + length > duration - 0.25:
                break
            place = int(np.clip(place + rng.choice(STEPS, p=ODDS), 0, len(ladder) - 1))
            pitch = ladder[place] + tuning
            linked = bool(index and rng.random() < how.melisma)
            if linked and abs(pitch - notes[-1].pitch) < 0.7:
                linked = False
            let_go = length > 0.25 and rng.random() < how.gap
            end = time + length * (rng.uniform(0.6, 0.9) if let_go else 1.0)
            sung = pitch + np.clip(rng.normal(0.0, how.miss), -45, 45) / 100
            notes.append(Sung(time, end, float(sung), index == 0, linked))
            time += length
        time += rng.uniform(0.3, 1.2)
    return notes


def shortened(notes: Sequence[Sung], consonants: Sequence[float]) -> list[Sung]:
    """The same notes, each ending where the consonant before the next one begins."""
    made = []
    for note, after, length in zip(notes, [*notes[1:], None], [*consonants[1:], 0.0], strict=True):
        latest = note.end if after is None else min(note.end, after.start - length)
        made.append(replace(note, end=max(latest, note.start + 0.05)))
    return made


def careful(notes: Sequence[Sung]) -> tuple[Note, ...]:
    """Labels that end with the vowel."""
    return tuple(Note(n.start, n.end, n.pitch) for n in notes)


def legato(notes: Sequence[Sung]) -> tuple[Note, ...]:
    """Labels that mostly last until the next note begins."""
    made = []
    for note, after in zip(notes, [*notes[1:], None], strict=True):
        near = after is not None and not after.first and after.start - note.end < LINKED
        made.append(Note(note.start, after.start if near and after else note.end, note.pitch))
    return tuple(made)


def contour(
    rng: np.random.Generator, notes: Sequence[Sung], how: Habits, duration: float, step: float
) -> np.ndarray:
    """The pitch, MIDI, every `step` seconds, (steps,)."""
    time = np.arange(round(duration / step) + 1) * step
    pitch = np.full(len(time), notes[0].pitch)
    wide = np.zeros(len(time))
    for before, note in itertools.pairwise(notes):
        glide = rng.uniform(*how.glide)
        middle = note.start - (0.0 if note.linked else 0.6 * glide)
        if note.first:
            middle = note.start - 0.15
        ramp = np.clip((time - middle) / glide + 0.5, 0.0, 1.0)
        pitch += (note.pitch - before.pitch) * ramp * ramp * (3.0 - 2.0 * ramp)
    for note in notes:
        inside = (time >= note.start - 0.05) & (time < note.end)
        since = np.maximum(time - note.start, 0.0)
        if not note.linked and rng.random() < how.scoop:
            pitch -= inside * rng.uniform(0.4, 1.5) * np.exp(-since / rng.uniform(0.02, 0.06))
        if note.end - note.start > 0.5 and rng.random() < how.vibrato:
            wide += inside * rng.uniform(0.2, 0.7) * np.clip((since - 0.2) / 0.2, 0.0, 1.0)
    pitch += wide * np.sin(2 * np.pi * rng.uniform(4.8, 6.8) * time + rng.uniform(0, 6.28))
    slow, quick = (_noise(rng, len(time), width / step) for width in (0.08, 0.01))
    return np.asarray(pitch + how.waver / 100 * slow + 0.03 * quick)


def _noise(rng: np.random.Generator, count: int, width: float) -> np.ndarray:
    """Smooth noise of spread 1, (count,)."""
    smooth = gaussian_filter1d(rng.standard_normal(count), width)
    return np.asarray(smooth / (smooth.std() + 1e-9))

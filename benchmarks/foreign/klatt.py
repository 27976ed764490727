"""Praat's KlattGrid sings: formant synthesis with a glottal flow of its own (Rosenberg's pulse).

Pip `praat-parselmouth` (GPL-3; Jadoul, Thompson and de Boer 2018) has Praat inside; KlattGrid is
Weenink's (Interspeech 2009). Phonation, vowels, consonants and levels are set apart from those of
`karaoke_train.synth`.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.foreign.score import Sung, contour, habits, shortened, write
from karaoke_train.audio.units import SAMPLE_RATE

if TYPE_CHECKING:
    from karaoke_train.audio.units import Range

STEP = 0.01  # s, between points of pitch
LONGEST = 2.5  # s, of a note
# F1 to F3 in Hz of a man's five Spanish vowels, roughly; others scale them.
VOWELS = (
    (700, 1350, 2450),
    (480, 1850, 2500),
    (290, 2250, 2950),
    (500, 920, 2400),
    (330, 750, 2300),
)


class Sound(NamedTuple):
    """A consonant. length: s. voiced: dB below the vowel, None for none. formants: Hz, None where
    the vowel's stay. hiss: Hz and dB below the vowel of its noise, None for none."""

    length: Range
    voiced: float | None
    formants: tuple[int, int, int] | None = None
    hiss: tuple[float, float] | None = None


CONSONANTS = (
    Sound((0.05, 0.16), 7.0, (270, 1000, 2200)),  # m
    Sound((0.05, 0.15), 7.0, (270, 1600, 2600)),  # n
    Sound((0.04, 0.14), 5.0, (380, 1100, 2600)),  # l
    Sound((0.04, 0.10), 4.0, (300, 2150, 2900)),  # j
    Sound((0.03, 0.07), 9.0, (400, 1400, 2100)),  # r
    Sound((0.05, 0.10), 14.0, (250, 900, 2200)),  # b
    Sound((0.05, 0.12), 16.0, (300, 1700, 2600), (5_000.0, 28.0)),  # z
    Sound((0.08, 0.18), None, None, (6_000.0, 20.0)),  # s
    Sound((0.06, 0.13), None, (300, 1800, 2600), (4_000.0, 30.0)),  # t
    Sound((0.06, 0.13), None, (300, 1900, 2300), (2_200.0, 30.0)),  # k
    Sound((0.04, 0.10), None, None, (1_500.0, 30.0)),  # h
)
NONE = Sound((0.02, 0.05), 12.0)  # a new vowel without a consonant


def sing(seed: int, duration: float) -> tuple[np.ndarray, list[Sung]]:
    """Samples at 16 kHz and what is sung."""
    from parselmouth.praat import call, run

    run(f"random_initializeWithSeedUnsafelyButPredictably ({seed + 1})")  # of Praat's noises
    rng = np.random.default_rng([seed, 3])
    how = habits(rng)
    size = rng.uniform(0.95, 1.3)  # of the formants
    low = 40 + 55 * (size - 0.95) + rng.uniform(0.0, 8.0)
    notes = write(rng, duration, low, low + rng.uniform(9.0, 16.0), how, LONGEST)
    sounds = [
        CONSONANTS[rng.integers(len(CONSONANTS))] if rng.random() < 0.85 else NONE for _ in notes
    ]
    room = [0.3, *(b.start - a.start for a, b in itertools.pairwise(notes))]
    leads = [
        0.0 if note.linked else min(rng.uniform(*sound.length), 0.4 * space)
        for note, sound, space in zip(notes, sounds, room, strict=True)
    ]
    notes = shortened(notes, leads)
    grid = call("Create KlattGrid", "voice", 0.0, duration, 5, 0, 0, 1, 0, 0, 0)
    for index, midi in enumerate(contour(rng, notes, how, duration, STEP)):
        at = min(index * STEP, duration)
        call(grid, "Add pitch point", at, 440.0 * 2 ** ((midi - 69) / 12))
    call(grid, "Add open phase point", 0.1, rng.uniform(0.4, 0.8))
    call(grid, "Add flutter point", 0.1, rng.uniform(0.0, 0.3))
    call(grid, "Add spectral tilt point", 0.1, rng.uniform(0.0, 12.0))
    call(grid, "Add breathiness amplitude point", 0.1, rng.uniform(10.0, 45.0))
    for number, width in enumerate((80.0, 100.0, 140.0, 220.0, 300.0), 1):
        call(grid, "Add oral formant bandwidth point", number, 0.1, width * rng.uniform(0.8, 1.4))
    for number, hertz in ((4, 3_500.0), (5, 4_500.0)):
        call(grid, "Add oral formant frequency point", number, 0.1, min(hertz * size, 7_000.0))
    call(grid, "Add frication formant bandwidth point", 1, 0.1, 1_500.0)
    vowel = VOWELS[0]
    for note, sound, lead in zip(notes, sounds, leads, strict=True):
        vowel = vowel if note.linked else VOWELS[rng.integers(len(VOWELS))]
        _syllable(rng, grid, note, sound, lead, np.array(vowel) * size)
    heard = call(call(grid, "To Sound"), "Resample", SAMPLE_RATE, 20)
    return np.asarray(heard.values[0], np.float32), notes


def _syllable(
    rng: np.random.Generator, grid: object, note: Sung, sound: Sound, lead: float, vowel: np.ndarray
) -> None:
    """Set the points of one note and of the consonant before it."""
    from parselmouth.praat import call

    def level(at: float, decibels: float) -> None:
        call(grid, "Add voicing amplitude point", max(at, 0.0), decibels)

    def formants(at: float, values: np.ndarray) -> None:
        for number, hertz in enumerate(values, 1):
            call(grid, "Add oral formant frequency point", number, max(at, 0.0), float(hertz))

    loud = 88.0 + rng.normal(0.0, 2.0)
    length = note.end - note.start
    rise = min(rng.uniform(0.015, 0.04), 0.3 * length)
    if not note.linked:
        shape = vowel if sound.formants is None else np.array(sound.formants) * vowel[2] / 2500
        formants(note.start - 0.5 * lead, shape)
        through = 0.0 if sound.voiced is None else loud - sound.voiced
        level(note.start - lead + 0.005, through)
        level(note.start - 0.5 * rise, through)
        if sound.hiss is not None:
            hertz, below = sound.hiss
            call(grid, "Add frication formant frequency point", 1, note.start - 0.5 * lead, hertz)
            for at, decibels in ((lead, 0.0), (0.6 * lead, loud - below), (0.005, 0.0)):
                call(grid, "Add frication amplitude point", max(note.start - at, 0.0), decibels)
    level(note.start + 0.5 * rise, loud)
    formants(note.start + min(0.06, 0.4 * length), vowel)
    level(note.start + 0.5 * length, loud + rng.normal(0.0, 2.0))
    formants(note.end - 0.01, vowel)
    fall = min(rng.uniform(0.02, 0.12), 0.5 * length)
    level(note.end - 0.7 * fall, loud - 2.0)
    level(note.end, loud - 14.0)
    level(note.end + 0.3 * fall, 0.0)

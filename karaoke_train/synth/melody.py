"""A random generator -> a melody that could be sung: keys, bars, phrases, motifs, rests.

A melody is a tuple of `Tone`s, in whole semitones and exact time; how a singer strays from it is
drawn in `karaoke_train.synth.performance`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from karaoke_train.audio.units import Range

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "major pentatonic": (0, 2, 4, 7, 9),
    "minor pentatonic": (0, 3, 5, 7, 10),
    "blues": (0, 3, 5, 6, 7, 10),
}

# A bar of four beats, as lengths in beats; negative: a rest. From whole notes to quavers with
# syncopation, as in pop and folk songs.
BARS = (
    (4.0,),
    (2.0, 2.0),
    (3.0, 1.0),
    (2.0, 1.0, 1.0),
    (1.0, 1.0, 2.0),
    (1.0, 1.0, 1.0, 1.0),
    (1.5, 0.5, 1.0, 1.0),
    (1.5, 0.5, 2.0),
    (1.0, 0.5, 0.5, 1.0, 1.0),
    (0.5, 0.5, 1.0, 0.5, 0.5, 1.0),
    (0.5, 0.5, 0.5, 0.5, 1.0, 1.0),
    (0.5, 0.5, 0.5, 0.5, 2.0),
    (0.5, 1.0, 0.5, 1.0, 1.0),
    (0.5, 1.0, 1.0, 0.5, 1.0),
    (0.75, 0.75, 0.5, 0.75, 0.75, 0.5),
    (0.75, 0.25, 0.5, 0.5, 1.0, 1.0),
    (-0.5, 0.5, 0.5, 0.5, 1.0, 1.0),
    (-0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 1.0),
    (-1.0, 1.0, 1.0, 1.0),
    (0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5),
)
EASY_BARS = BARS[1:6]

# Steps along the scale: repeats, moves and leaps, and how likely each is among its like. Neighbours
# are the rule, falls a little likelier than rises, leaps rare (Huron, Sweet Anticipation, 2006).
_STEPS = (0, 1, -1, 2, -2, 3, -3, 4, -4, 7, -7)
_MOVES = np.array([0.24, 0.28, 0.085, 0.085]) / 0.69
_LEAPS = np.array([0.04, 0.03, 0.02, 0.015, 0.015, 0.01]) / 0.13


@dataclass(frozen=True, slots=True)
class Tone:
    """One tone of a melody.

    start, end: seconds. pitch: MIDI number. slurred: sung on from the tone before, on the same
    vowel without a consonant (melisma). phrase: the number of its phrase.
    """

    start: float
    end: float
    pitch: int
    slurred: bool
    phrase: int


@dataclass(frozen=True)
class Manner:
    """How melodies are made. Ranges are (lowest, highest).

    tempo: beats per minute. melisma: share of syllables of several tones. rest_beats: the rest
    after a phrase. shortest: seconds; shorter tones are joined to the one before.
    motif: how likely a phrase takes up the rhythm of the one before. repeats, leaps: share of
    notes that repeat the one before, and that lie more than two steps of the scale from it; a
    song draws both (amateurs' songs, measured: 26 % and 8 %).
    """

    tempo: Range = (60.0, 150.0)
    melisma: Range = (0.0, 0.35)
    rest_beats: Range = (0.5, 3.0)
    shortest: float = 0.11
    motif: float = 0.5
    repeats: Range = (0.1, 0.4)
    leaps: Range = (0.03, 0.15)
    bars: tuple[tuple[float, ...], ...] = BARS


EASY = Manner(tempo=(75.0, 105.0), melisma=(0.0, 0.0), rest_beats=(1.0, 2.0), bars=EASY_BARS)


def compose(
    rng: np.random.Generator, duration: float, low: int, high: int, manner: Manner
) -> tuple[Tone, ...]:
    """A melody within `duration` seconds and between the MIDI pitches `low` and `high`."""
    beat = 60.0 / rng.uniform(*manner.tempo)
    melisma = rng.uniform(*manner.melisma)
    odds = _odds(rng.uniform(*manner.repeats), rng.uniform(*manner.leaps))
    ladder = _ladder(rng, low, high)
    place = len(ladder) // 2
    time = rng.uniform(0.1, 0.8)
    tones: list[Tone] = []
    rhythm: tuple[float, ...] = ()
    phrase = 0
    while time < duration:
        if not rhythm or rng.random() > manner.motif:
            rhythm = _rhythm(rng, beat, manner)
        for length in rhythm:
            end = time + abs(length) * beat
            if length > 0 and end < duration - 0.05:
                place = _next(rng, place, len(ladder), odds)
                touching = bool(tones) and tones[-1].phrase == phrase and tones[-1].end == time
                slurred = touching and rng.random() < melisma and tones[-1].pitch != ladder[place]
                tones.append(Tone(time, end, ladder[place], slurred, phrase))
            time = end
        time += rng.uniform(*manner.rest_beats) * beat
        phrase += 1
    return tuple(tones) or (Tone(0.1, max(0.2, duration - 0.1), ladder[place], False, 0),)


def _ladder(rng: np.random.Generator, low: int, high: int) -> list[int]:
    """The pitches of a random key's scale within the voice's range."""
    scale = list(SCALES.values())[rng.choice(len(SCALES), p=_SCALE_ODDS)]
    tonic = int(rng.integers(12))
    return [pitch for pitch in range(low, high + 1) if (pitch - tonic) % 12 in scale]


_SCALE_ODDS = np.array([0.32, 0.2, 0.08, 0.08, 0.07, 0.1, 0.1, 0.05])


def _rhythm(rng: np.random.Generator, beat: float, manner: Manner) -> tuple[float, ...]:
    """One to three bars of lengths, none shorter than can be sung."""
    bars = [manner.bars[rng.integers(len(manner.bars))] for _ in range(rng.integers(1, 4))]
    lengths: list[float] = []
    for length in (length for bar in bars for length in bar):
        if lengths and abs(length) * beat < manner.shortest:
            lengths[-1] += abs(length) if lengths[-1] > 0 else -abs(length)
        else:
            lengths.append(length)
    return tuple(lengths)


def _odds(repeats: float, leaps: float) -> np.ndarray:
    """How likely each step or one before it in _STEPS is."""
    return np.cumsum([repeats, *(1.0 - repeats - leaps) * _MOVES, *leaps * _LEAPS])


def _next(rng: np.random.Generator, place: int, count: int, odds: np.ndarray) -> int:
    """A step along the ladder, turned around at its ends and leaning to its middle."""
    step = _STEPS[min(int(np.searchsorted(odds, rng.random())), len(_STEPS) - 1)]
    centre = (count - 1) / 2
    if abs(place + step - centre) > abs(place - centre) and rng.random() < abs(place - centre) / (
        centre + 1
    ):
        step = -step
    if not 0 <= place + step < count:
        step = -step
    return min(max(place + step, 0), count - 1)

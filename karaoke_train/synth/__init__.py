"""Seeds -> singing with the exact truth of its notes, made at run time, nothing stored.

A seed gives a singer (`voice`), a melody (`melody`), what the one makes of the other
(`performance`), its sound (`singer`) and a recording of it (`karaoke_train.audio.degrade`). The
truth is that of the performance: see there what onset, offset and pitch mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from karaoke_train.audio import degrade
from karaoke_train.audio.units import SAMPLE_RATE
from karaoke_train.notes import Note
from karaoke_train.synth import melody, performance, singer
from karaoke_train.synth.voice import (
    AMATEUR_VOICES,
    HELD_OUT_VOICES,
    PARTIAL_VOICES,
    SIMPLE_VOICES,
    TRAIN_VOICES,
    VALIDATION_VOICES,
    Voice,
    VoiceRange,
    draw,
)

__all__ = [
    "AMATEUR_VOICES",
    "HELD_OUT_VOICES",
    "PARTIAL_VOICES",
    "SIMPLE_VOICES",
    "TRAIN_VOICES",
    "VALIDATION_VOICES",
    "SyntheticSong",
    "VoiceRange",
    "sing",
    "synthetic_songs",
]

DURATION = 10.0  # s


def sing(
    seed: int,
    *,
    duration: float = DURATION,
    voices: VoiceRange = TRAIN_VOICES,
    simple: bool = False,
) -> tuple[np.ndarray, tuple[Note, ...]]:
    """Singing and the truth of its notes.

    Returns float32 samples in [-1, 1], shape (samples,), mono 16 kHz, of `duration` seconds, and
    the notes in order. Equal arguments give equal results. `simple` asks for slow melodies
    within one octave, sung by SIMPLE_VOICES whatever `voices` says and recorded cleanly: little
    enough to learn in a minute.
    """
    rng, voice, syllables = _performed(seed, duration, SIMPLE_VOICES if simple else voices, simple)
    sound = singer.render(rng, syllables, voice, round(duration * SAMPLE_RATE))
    sound = degrade.record(rng, sound, degrade.STUDIO if simple else voices.recorded)
    return np.clip(sound, -1.0, 1.0), performance.truth(syllables)


def synthetic_songs(
    count: int,
    seed: int,
    *,
    duration: float = DURATION,
    voices: VoiceRange = TRAIN_VOICES,
    simple: bool = False,
) -> list[SyntheticSong]:
    """`count` songs that are sung when they are loaded, the same sound at each load.

    They hold their seeds alone, so they cost nothing and can be sent to worker processes. The
    same seed gives other melodies and singers for other `voices`.
    """
    seeds = np.random.SeedSequence(seed).generate_state(count, np.uint64)
    return [SyntheticSong(int(one), duration, voices, simple) for one in seeds]


@dataclass(frozen=True)
class SyntheticSong:
    """A song that is sung when it is loaded. `duration` in seconds."""

    seed: int
    duration: float = DURATION
    voices: VoiceRange = TRAIN_VOICES
    simple: bool = False

    @property
    def name(self) -> str:
        """Names its voices and its seed."""
        return f"synthetic-{'simple' if self.simple else self.voices.name}-{self.seed}"

    @cached_property
    def notes(self) -> tuple[Note, ...]:
        """The notes; no sound is made for them."""
        voices = SIMPLE_VOICES if self.simple else self.voices
        return performance.truth(_performed(self.seed, self.duration, voices, self.simple)[2])

    def load(self, start: float = 0.0, end: float | None = None) -> np.ndarray:
        """float32 mono 16 kHz, shape (samples,). The whole song is sung each time, then cut."""
        sound, _ = sing(self.seed, duration=self.duration, voices=self.voices, simple=self.simple)
        last = len(sound) if end is None else round(end * SAMPLE_RATE)
        return sound[max(0, round(start * SAMPLE_RATE)) : max(0, last)]


def _performed(
    seed: int, duration: float, voices: VoiceRange, simple: bool
) -> tuple[np.random.Generator, Voice, tuple[performance.Syllable, ...]]:
    """The singer and what it sings, and the generator that its sound goes on with."""
    rng = np.random.default_rng([seed, *voices.name.encode()])
    voice = draw(rng, voices, simple=simple)
    manner = melody.EASY if simple else melody.Manner()
    tones = melody.compose(rng, duration, voice.low, voice.high, manner)
    return rng, voice, performance.perform(rng, tones, voice)

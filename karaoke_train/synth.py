"""Seeds -> singing with the exact truth of its notes, made at run time, nothing stored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from karaoke_train import melody
from karaoke_train.audio import SAMPLE_RATE
from karaoke_train.notes import Note

DURATION = 10.0  # s


@dataclass(frozen=True)
class VoiceRange:
    name: str
    low: int = 50
    high: int = 74
    vibrato_rate: tuple[float, float] = (4.8, 6.2)
    formants: tuple[float, float] = (0.9, 1.1)


TRAIN_VOICES = VoiceRange("train")
HELD_OUT_VOICES = VoiceRange("held out", vibrato_rate=(6.3, 7.0), formants=(1.12, 1.2))


def sing(
    seed: int,
    *,
    duration: float = DURATION,
    voices: VoiceRange = TRAIN_VOICES,
    simple: bool = False,
) -> tuple[np.ndarray, tuple[Note, ...]]:
    """Singing and its notes: float32 mono 16 kHz in [-1, 1], shape (samples,)."""
    rng, tones = _plan(seed, duration, voices, simple)
    return _render(rng, tones, duration, voices), _truth(tones)


def synthetic_songs(
    count: int,
    seed: int,
    *,
    duration: float = DURATION,
    voices: VoiceRange = TRAIN_VOICES,
    simple: bool = False,
) -> list[SyntheticSong]:
    """`count` songs that are sung when loaded: each load of the same song is the same sound."""
    seeds = np.random.SeedSequence(seed).generate_state(count, np.uint64)
    return [SyntheticSong(int(one), duration, voices, simple) for one in seeds]


@dataclass(frozen=True)
class SyntheticSong:
    """A song that is sung when it is loaded. `duration` in seconds."""

    seed: int
    duration: float
    voices: VoiceRange = TRAIN_VOICES
    simple: bool = False

    @property
    def name(self) -> str:
        """Tells its seed and its voices."""
        return f"synthetic-{self.voices.name.replace(' ', '-')}-{self.seed}"

    @cached_property
    def notes(self) -> tuple[Note, ...]:
        """The notes, made without a sound being made."""
        return _truth(_plan(self.seed, self.duration, self.voices, self.simple)[1])

    def load(self, start: float = 0.0, end: float | None = None) -> np.ndarray:
        """The whole song is sung each time, then cut; float32 mono 16 kHz."""
        audio, _ = sing(self.seed, duration=self.duration, voices=self.voices, simple=self.simple)
        last = len(audio) if end is None else round(end * SAMPLE_RATE)
        return audio[round(start * SAMPLE_RATE) : last]


def _plan(
    seed: int, duration: float, voices: VoiceRange, simple: bool
) -> tuple[np.random.Generator, tuple[melody.Tone, ...]]:
    rng = np.random.default_rng([seed, *voices.name.encode()])
    low = int(rng.integers(voices.low, voices.high - 12))
    manner = melody.EASY if simple else melody.Manner()
    return rng, melody.compose(rng, duration, low, low + 12, manner)


def _truth(tones: tuple[melody.Tone, ...]) -> tuple[Note, ...]:
    return tuple(Note(t.start, t.end, float(t.pitch)) for t in tones)


def _render(
    rng: np.random.Generator, tones: tuple[melody.Tone, ...], duration: float, voices: VoiceRange
) -> np.ndarray:
    count = round(duration * SAMPLE_RATE)
    time = np.arange(count) / SAMPLE_RATE
    index = np.searchsorted([t.start for t in tones], time, side="right") - 1
    pitch = np.array([tones[0].pitch, *(t.pitch for t in tones)], float)[index + 1]
    kernel = np.hanning(800)
    pitch = np.convolve(np.pad(pitch, 400, mode="edge"), kernel / kernel.sum(), "same")[400:-400]
    since = time - np.array([0.0, *(t.start for t in tones)])[index + 1]
    depth = 0.3 * np.clip((since - 0.2) / 0.3, 0, 1)
    pitch += depth * np.sin(2 * np.pi * rng.uniform(*voices.vibrato_rate) * time)
    ends = np.array([0.0, *(t.end for t in tones)])[index + 1]
    loud = np.clip(since / 0.03, 0, 1) * np.clip((ends - time) / 0.05, 0, 1)
    f0 = 440.0 * 2.0 ** ((pitch - 69) / 12)
    phase = 2 * np.pi * np.cumsum(f0) / SAMPLE_RATE
    scale = rng.uniform(*voices.formants)
    audio = np.zeros(count)
    for harmonic in range(1, 25):
        f = f0 * harmonic
        shape = sum(
            1 / (1 + ((f - centre * scale) / width) ** 2)
            for centre, width in ((650, 120), (1200, 150), (2700, 300))
        )
        audio += np.sin(harmonic * phase) * (shape + 0.05) / harmonic**0.5 * (f < 7600)
    audio *= loud
    audio = 0.5 * audio / (np.abs(audio).max() + 1e-9)
    return (audio + 0.002 * rng.standard_normal(count)).astype(np.float32)

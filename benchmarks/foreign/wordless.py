"""Humming, whistling, noise and mains hum: sums of sines, and noise."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d

from benchmarks.foreign.score import contour, habits, write
from karaoke_train.audio.units import SAMPLE_RATE

if TYPE_CHECKING:
    from benchmarks.foreign.score import Habits, Sung

STEP = 0.005  # s, of the pitch
LONGEST = 2.0  # s, of a note


def hum(seed: int, duration: float) -> np.ndarray:
    """A melody by a closed mouth: few partials, and the voice dips where a note is set anew."""
    rng = np.random.default_rng([seed, 7])
    how, low = habits(rng), rng.uniform(40.0, 62.0)
    notes = write(rng, duration, low, low + rng.uniform(9.0, 14.0), how, LONGEST)
    pitch = _pitch(rng, notes, how, duration)
    level = _level(rng, notes, len(pitch), dip=rng.uniform(6.0, 20.0), edge=rng.uniform(0.02, 0.05))
    hertz = 440.0 * 2 ** ((pitch - 69) / 12)
    phase = 2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE
    sound, steep = np.zeros(len(pitch)), rng.uniform(10.0, 18.0)
    for number in range(1, 25):
        partial = hertz * number
        mouth = 1.0 / (1.0 + ((partial - 260.0) / 120.0) ** 2) + 0.05  # the nose's resonance
        below = steep * np.log2(number) - 20 * np.log10(mouth)
        sound += 10 ** (-below / 20) * np.sin(number * phase) * (partial < 7_000)
    breath = gaussian_filter1d(rng.standard_normal(len(sound)), 1.0) * rng.uniform(0.001, 0.02)
    return np.asarray(level * (sound / np.abs(sound).max() + breath), np.float32)


def whistle(seed: int, duration: float) -> np.ndarray:
    """A melody whistled, every other seed with vibrato."""
    rng = np.random.default_rng([seed, 8])
    how = replace(habits(rng), scoop=0.1, vibrato=0.9 * (seed % 2))
    how = replace(how, waver=min(how.waver, 8.0))
    low = rng.uniform(77.0, 82.0)
    notes = write(rng, duration, low, low + rng.uniform(8.0, 11.0), how, LONGEST)
    pitch = _pitch(rng, notes, how, duration)
    level = _level(rng, notes, len(pitch), dip=rng.uniform(3.0, 20.0), edge=rng.uniform(0.01, 0.03))
    tone = np.sin(2 * np.pi * np.cumsum(440.0 * 2 ** ((pitch - 69) / 12)) / SAMPLE_RATE)
    breath = np.convolve(rng.standard_normal(len(tone)), [1.0, -0.6], "same")
    return np.asarray(level * (tone + rng.uniform(0.005, 0.05) * breath), np.float32)


def noise(seed: int, duration: float) -> np.ndarray:
    """Between white and brown, as wind and traffic swell."""
    rng = np.random.default_rng([seed, 10])
    count = round(duration * SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(count))
    spectrum /= np.maximum(np.arange(len(spectrum)) / duration, 30.0) ** rng.uniform(0.0, 1.0)
    sound = np.fft.irfft(spectrum, count)
    swell = gaussian_filter1d(rng.standard_normal(count // 160 + 1), rng.uniform(10.0, 100.0))
    rises = np.exp(rng.uniform(0.0, 1.5) * swell / swell.std())
    return np.asarray(sound * np.interp(np.arange(count) / 160, np.arange(len(rises)), rises))


def mains(seed: int, duration: float) -> np.ndarray:
    """50 or 60 Hz with its multiples, and hiss."""
    rng = np.random.default_rng([seed, 11])
    time = np.arange(round(duration * SAMPLE_RATE)) / SAMPLE_RATE
    sound = rng.uniform(0.0, 0.1) * rng.standard_normal(len(time))
    for number in range(1, 20):
        size = rng.uniform(0.2, 1.0) / number ** rng.uniform(0.5, 1.5)
        sound += size * np.sin(2 * np.pi * (50, 60)[seed % 2] * number * time + number)
    return sound


def _pitch(rng: np.random.Generator, notes: list[Sung], how: Habits, duration: float) -> np.ndarray:
    """MIDI, per sample."""
    coarse = contour(rng, notes, how, duration, STEP)
    time = np.arange(round(duration * SAMPLE_RATE)) / SAMPLE_RATE
    return np.interp(time, np.arange(len(coarse)) * STEP, coarse)


def _level(
    rng: np.random.Generator, notes: list[Sung], count: int, dip: float, edge: float
) -> np.ndarray:
    """Of the sound, per sample. dip: dB between two notes that follow at once. edge: s."""
    level = np.full(count, -60.0)
    for note in notes:
        first = round(note.start * SAMPLE_RATE)
        level[first : round(note.end * SAMPLE_RATE)] = rng.normal(0.0, 1.5)
        if not note.linked and not note.first:
            hole = slice(max(0, first - round(2 * edge * SAMPLE_RATE)), first)
            level[hole] = np.minimum(level[hole], -dip)
    return np.asarray(10 ** (gaussian_filter1d(level, 0.4 * edge * SAMPLE_RATE) / 20))

"""Pitch and loudness -> a voice by other means than `singer`: a bank of sines and shaped noise.

Validation needs sounds that training never made. Nothing here knows of glottal pulses, formants or
the tract: each song draws a spectrum of its own, which changes slowly into another one (additive
synthesis; Serra and Smith, Computer Music Journal 14, 1990, with noise beside the sines).
"""

from __future__ import annotations

import numpy as np

from karaoke_train.audio.units import SAMPLE_RATE

MOST = 40  # sines; at 80 Hz they reach 3.2 kHz
_KNOTS = np.geomspace(80.0, SAMPLE_RATE / 2, 12)  # Hz, where a spectrum is drawn


def sound(
    rng: np.random.Generator,
    pitch: np.ndarray,
    level: np.ndarray,
    breath: np.ndarray,
    count: int,
    step: int,
) -> np.ndarray:
    """`count` samples, float32.

    pitch (MIDI), level and breath: (steps,), a value every `step` samples, from 0 to about 1.
    """
    at = np.arange(count) / step
    grid = np.arange(len(pitch))
    hertz = 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)
    phase = 2 * np.pi * np.cumsum(np.interp(at, grid, hertz)) / SAMPLE_RATE
    spectra = -12.0 * np.log2(_KNOTS / 200.0).clip(0) + rng.normal(0.0, 5.0, (2, len(_KNOTS)))  # dB
    blend = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.3, 2.0) * grid * step / SAMPLE_RATE)
    out = np.zeros(count)
    for number in range(1, MOST + 1):
        octaves = np.log2(number * hertz)
        one, other = (np.interp(octaves, np.log2(_KNOTS), decibels) for decibels in spectra)
        loud = 10.0 ** ((one * blend + other * (1 - blend)) / 20)
        loud *= level * (number * hertz < 0.48 * SAMPLE_RATE)
        out += np.interp(at, grid, loud) * np.sin(number * phase + rng.uniform(0, 2 * np.pi))
    noise = np.convolve(rng.standard_normal(count), [0.1, 0.2, 0.2, 0.1], mode="same")
    return np.asarray(out + np.interp(at, grid, breath) * noise, np.float32)

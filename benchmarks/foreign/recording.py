"""Imperfect recordings, made by pip `pedalboard` and not by `karaoke_train.audio.degrade`.

A small room (Freeverb), a telephone's band, GSM or MP3, hiss and mains hum. GPL-3; for the
benchmark alone.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import fftconvolve

from karaoke_train.audio.units import SAMPLE_RATE


def clean(sound: np.ndarray) -> np.ndarray:
    """At half of full scale."""
    return np.asarray(0.5 * sound / (np.abs(sound).max() + 1e-9), np.float32)


def phone(sound: np.ndarray, seed: int) -> np.ndarray:
    """As a phone at some distance hears it, in step with the sound, float32."""
    import pedalboard

    rng = np.random.default_rng([seed, 9])
    board = [
        pedalboard.Reverb(
            room_size=rng.uniform(0.05, 0.5), wet_level=rng.uniform(0.05, 0.25), dry_level=0.6
        ),
        pedalboard.HighpassFilter(rng.uniform(100.0, 350.0)),
        pedalboard.LowpassFilter(rng.uniform(3_400.0, 7_000.0)),
        pedalboard.Compressor(threshold_db=rng.uniform(-30.0, -15.0), ratio=rng.uniform(1.5, 4.0)),
    ]
    heard = pedalboard.Pedalboard(board)(clean(sound), SAMPLE_RATE)
    loud = heard[np.abs(heard) > 0.02 * np.abs(heard).max()]
    level = float(np.sqrt(np.mean(loud**2))) * 10 ** (-rng.uniform(18.0, 35.0) / 20)
    hiss = np.convolve(rng.standard_normal(len(heard)), [1.0, rng.uniform(-0.8, 0.9)], "same")
    time = np.arange(len(heard)) / SAMPLE_RATE
    hum = np.sin(2 * np.pi * 50 * time) + 0.5 * np.sin(2 * np.pi * 150 * time + 1.0)
    noisy = clean(heard + level * (hiss / hiss.std() + rng.uniform(0.0, 0.5) * hum))
    codec = rng.random()
    if codec < 0.4:
        coded = pedalboard.MP3Compressor(vbr_quality=rng.uniform(5.0, 9.5))(noisy, SAMPLE_RATE)
    elif codec < 0.6:
        coded = pedalboard.GSMFullRateCompressor()(noisy, SAMPLE_RATE)
    else:
        return noisy
    return clean(_in_step(np.asarray(coded), noisy))


def _in_step(late: np.ndarray, sound: np.ndarray) -> np.ndarray:
    """`late` moved to where it fits `sound` best, within 100 ms."""
    reach = SAMPLE_RATE // 10
    likeness = fftconvolve(late, sound[::-1])[len(sound) - 1 - reach : len(sound) + reach]
    shift = int(np.argmax(likeness)) - reach
    moved = late[shift:] if shift >= 0 else np.pad(late, (-shift, 0))
    return np.pad(moved, (0, max(0, len(sound) - len(moved))))[: len(sound)]

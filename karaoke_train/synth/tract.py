"""A source and a singer's vowels -> the voice: five moving resonances, frame by frame.

A cascade of digital resonators (Klatt, JASA 67, 1980), whose response is laid over the
spectrum of short overlapping frames, so that a whole song is filtered in a few array operations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy

from karaoke_train.audio.units import SAMPLE_RATE
from karaoke_train.synth.performance import CONSONANTS, NASAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from karaoke_train.synth.performance import Syllable
    from karaoke_train.synth.voice import Voice

HOP = 128  # samples, 8 ms: the grid of the formants
_WINDOW = 2 * HOP  # halves of a Hann window that overlap by one half add up to one
_FFT = 6 * HOP  # the rest is room for the resonances to ring in
_BLOCK = 2_000  # frames filtered at once, 16 s; bounds the memory of long songs
_SOURCE_CORNER = 130.0  # Hz; above it source and radiation together fall by 6 dB per octave


def frame_times(count: int) -> np.ndarray:
    """The middles of the frames that cover `count` samples, s, shape (frames,)."""
    return np.arange(count // HOP + 2) * HOP / SAMPLE_RATE


def formants(
    rng: np.random.Generator, syllables: Sequence[Syllable], voice: Voice, pitch: np.ndarray
) -> np.ndarray:
    """The five resonances of each frame, Hz, shape (frames, 5); pitch: MIDI, shape (frames,)."""
    scale = voice.formants[:, 2].mean() / 2550.0
    upper = voice.formants.mean(axis=0)[3:]
    nasal = np.concatenate([np.array(NASAL) * scale, upper])
    table = np.tile(nasal, (len(voice.formants), 1)) if voice.humming else voice.formants
    points: list[tuple[float, np.ndarray]] = []
    for note in syllables:
        duration = note.offset - note.onset
        shape = CONSONANTS[note.consonant].formants if note.consonant else None
        if shape is not None:
            locus = np.concatenate([np.array(shape) * scale, upper])
            points.append((note.onset - 0.5 * note.lead, locus))
        reach = min(rng.uniform(0.03, 0.07), 0.3 * duration)
        if not note.slurred:
            points.append((note.onset + reach, table[note.vowel]))
        points.append((note.onset + 0.5 * duration, table[note.vowel]))
        points.append((note.offset - 0.35 * duration, table[note.glides_to]))
        if note.nasal:
            points.append((note.offset - min(0.06, 0.2 * duration), nasal))
    time = np.maximum.accumulate([at for at, _ in points])
    values = np.array([value for _, value in points])
    grid = np.arange(len(pitch)) * HOP / SAMPLE_RATE
    moving = np.stack([np.interp(grid, time, column) for column in values.T], axis=1)
    lowest = 1.03 * 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)
    if not voice.humming:  # singers open their mouth to keep the first formant above the tone
        moving[:, 0] = np.maximum(moving[:, 0], np.minimum(lowest, 1_200.0))
        moving[:, 1] = np.maximum(moving[:, 1], moving[:, 0] + 150.0)
    return moving


def voiced(
    source: np.ndarray, resonances: np.ndarray, level: np.ndarray, voice: Voice
) -> np.ndarray:
    """The source through the tract, float32, (samples,).

    resonances: shape (frames, 5), Hz. level: shape (frames,); a louder voice is brighter.
    """
    frames = len(resonances)
    corner = voice.tilt * np.clip(level, 0.2, 1.6)
    padded = np.zeros((frames + 1) * HOP, np.float32)
    padded[HOP : HOP + len(source)] = source
    # Frame n is centred on sample n * HOP.
    cuts = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::HOP]
    window = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
    out = np.zeros((frames + _FFT // HOP, HOP), np.float32)
    for start in range(0, frames, _BLOCK):
        block = slice(start, min(start + _BLOCK, frames))
        spectrum = scipy.fft.rfft(cuts[block] * window, _FFT, axis=1)
        spectrum *= _response(resonances[block], voice.bandwidths, corner[block])
        sound = scipy.fft.irfft(spectrum, _FFT, axis=1).reshape(len(spectrum), -1, HOP)
        for part in range(sound.shape[1]):
            out[block.start + part : block.stop + part] += sound[:, part]
    return out.reshape(-1)[HOP : HOP + len(source)]


def _response(resonances: np.ndarray, bandwidths: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """The tract's and the source's spectrum, complex64, shape (frames, bins)."""
    delay = np.exp(-2j * np.pi * np.arange(_FFT // 2 + 1) / _FFT)
    powers = np.stack([np.ones_like(delay), delay, delay**2]).astype(np.complex64)
    radius = np.exp(-np.pi * bandwidths / SAMPLE_RATE)
    first = 2 * radius * np.cos(2 * np.pi * resonances / SAMPLE_RATE)
    second = -np.broadcast_to(radius**2, resonances.shape)
    poles = np.ones((len(resonances), powers.shape[1]), np.complex64)
    gain = np.ones(len(resonances))
    for row in range(resonances.shape[1]):
        weights = np.stack([np.ones(len(resonances)), -first[:, row], -second[:, row]], axis=1)
        poles *= weights.astype(np.float32) @ powers
        gain *= weights.sum(axis=1)
    for frequency in (np.full(len(resonances), _SOURCE_CORNER), corner):
        pole = np.exp(-2 * np.pi * frequency / SAMPLE_RATE)
        weights = np.stack([np.ones_like(pole), -pole], axis=1)
        poles *= weights.astype(np.float32) @ powers[:2]
        gain *= 1.0 - pole
    return np.asarray(gain.astype(np.float32)[:, None] / poles)

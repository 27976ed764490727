"""Sound and its notes -> the same song sung higher or lower, elsewhere, louder, with noise.

Every function takes float samples of shape (samples,) at 16 kHz and gives as many back; only the
pitch shift changes the notes. All randomness comes from the generator that is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import log2
from typing import TYPE_CHECKING

import numpy as np
import scipy

from karaoke_train.audio.degrade import add_noise, reverberate
from karaoke_train.audio.units import Range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from karaoke_train.notes import Note

_WINDOW = 1024  # samples, 64 ms
_HOP = 256
_FINEST = 48  # the largest denominator of a pitch ratio; within 10 cents of any shift asked for


@dataclass(frozen=True)
class Augmentation:
    """How songs are changed. Shares are from 0 to 1, ranges (lowest, highest), drawn evenly.

    shift: semitones. snr: dB. gain: dB. decay: s, of the room, to -60 dB. wet: energy of the
    room to the direct sound's.
    """

    shifted: float = 0.5
    shift: Range = (-3.0, 3.0)
    noisy: float = 0.4
    snr: Range = (10.0, 40.0)
    gain: Range = (-12.0, 3.0)
    roomy: float = 0.3
    decay: Range = (0.15, 0.8)
    wet: Range = (0.05, 0.5)


def augment(
    sound: np.ndarray,
    notes: Sequence[Note],
    rng: np.random.Generator,
    settings: Augmentation = Augmentation(),
) -> tuple[np.ndarray, tuple[Note, ...]]:
    """A changed copy of a song: float32 in [-1, 1], shape (samples,), and its notes."""
    changed = tuple(notes)
    if rng.random() < settings.shifted:
        sound, changed = pitch_shift(sound, changed, rng.uniform(*settings.shift))
    if rng.random() < settings.roomy:
        sound = reverberate(sound, rng.uniform(*settings.decay), rng.uniform(*settings.wet), rng)
    if rng.random() < settings.noisy:
        slope = float(rng.choice([0.0, -3.0, -6.0]))
        sound = add_noise(sound, rng.uniform(*settings.snr), rng, slope)
    return gain(sound, rng.uniform(*settings.gain)), changed


def gain(sound: np.ndarray, decibels: float) -> np.ndarray:
    """The sound, float32 (samples,), louder or softer, as far as full scale leaves room: nothing is
    clipped."""
    peak = float(np.abs(sound).max(initial=0.0)) + 1e-12
    return np.asarray(min(10.0 ** (decibels / 20), 1.0 / peak) * sound, np.float32)


def pitch_shift(
    sound: np.ndarray, notes: Sequence[Note], semitones: float
) -> tuple[np.ndarray, tuple[Note, ...]]:
    """The song `semitones` higher, no longer or shorter, and its notes.

    The sound is stretched in a phase vocoder (Flanagan and Golden 1966, in the form of Dolson
    1986) and played faster by a ratio of small numbers; the notes move by exactly that ratio,
    within 10 cents of `semitones`. Formants move along, as in a smaller singer. A shift that
    would take a note out of MIDI's range leaves the song as it is.
    """
    ratio = Fraction(2.0 ** (semitones / 12)).limit_denominator(_FINEST)
    moved = 12 * log2(ratio)
    if ratio == 1 or not all(0 <= note.pitch + moved <= 127 for note in notes):
        return sound, tuple(notes)
    stretched = _stretch(sound, float(ratio))
    played = scipy.signal.resample_poly(stretched, ratio.denominator, ratio.numerator)[: len(sound)]
    played = np.pad(played, (0, len(sound) - len(played))).astype(np.float32)
    return played, tuple(replace(note, pitch=note.pitch + moved) for note in notes)


def _stretch(sound: np.ndarray, factor: float) -> np.ndarray:
    """The sound `factor` times as long at the same pitch, float32."""
    window = scipy.signal.windows.hann(_WINDOW, sym=False).astype(np.float32)
    count = max(2, -(-len(sound) // _HOP) + 1)  # frames, centred on multiples of the hop
    padded = np.zeros(count * _HOP + _WINDOW, np.float32)
    padded[_WINDOW // 2 : _WINDOW // 2 + len(sound)] = sound
    cuts = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP][:count]
    spectrum = scipy.fft.rfft(cuts * window, axis=1)
    # Output frame n looks at n / factor of the input: magnitudes between two frames, phases
    # carried on by what the phase of each bin gains from one frame to the next.
    position = np.arange(int((count - 1) * factor) + 1) / factor
    before = np.minimum(position.astype(int), count - 2)
    weight = (position - before).astype(np.float32)[:, None]
    magnitude = np.abs(spectrum)
    magnitude = magnitude[before] * (1 - weight) + magnitude[before + 1] * weight
    phase = np.angle(spectrum)
    expected = (2 * np.pi * _HOP / _WINDOW * np.arange(spectrum.shape[1])).astype(np.float32)
    excess = np.diff(phase, axis=0) - expected
    gained = excess - 2 * np.pi * np.rint(excess / (2 * np.pi)) + expected
    turned = phase[0] + np.cumsum(gained[before], axis=0, dtype=np.float64)
    turned = np.remainder(np.vstack([phase[:1], turned[:-1]]), 2 * np.pi).astype(np.float32)
    frames = scipy.fft.irfft(magnitude * (np.cos(turned) + 1j * np.sin(turned)), axis=1) * window
    parts = frames.reshape(len(frames), -1, _HOP)
    out = np.zeros((len(frames) + parts.shape[1], _HOP), np.float32)
    for part in range(parts.shape[1]):
        out[part : part + len(frames)] += parts[:, part]
    overlap = float(np.sum(window**2)) / _HOP
    return out.reshape(-1)[_WINDOW // 2 : _WINDOW // 2 + round(len(sound) * factor)] / overlap

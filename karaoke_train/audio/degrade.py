"""Sound -> the same sound as a room, a microphone and a codec leave it. Numpy arrays only.

Each function takes float samples of shape (samples,), at least one, at 16 kHz and gives as many
back; none shifts them in time by more than a sample. `karaoke_train.synth` records its singers
with them, `karaoke_train.audio.augment` changes real recordings.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
import scipy
import soundfile

from karaoke_train.audio.units import SAMPLE_RATE, Range

_MP3_DELAY = 576 + 529  # samples that encoder and decoder put in front (LAME's technical FAQ)


@dataclass(frozen=True)
class Conditions:
    """How recordings are made. Ranges are (lowest, highest), shares are from 0 to 1.

    level: dB of full scale, RMS of the loud parts. rooms: share with echoes, whose decay (s, to
    -60 dB) and wet (energy to the direct sound's) are drawn evenly in their logarithms.
    snr: dB, steady noise of a random colour. hums: share with mains hum, at hum_snr dB.
    phones: share through a telephone's or a laptop's microphone; the others are studio ones.
    overdriven: share too loud for their microphone. mp3: share that were MP3 once. levelled: share
    whose soft parts were made louder, as phones do.
    """

    level: Range = (-34.0, -14.0)
    rooms: float = 0.7
    decay: Range = (0.12, 1.0)
    wet: Range = (0.02, 0.7)
    snr: Range = (12.0, 55.0)
    hums: float = 0.12
    hum_snr: Range = (20.0, 45.0)
    phones: float = 0.4
    overdriven: float = 0.07
    mp3: float = 0.12
    levelled: float = 0.0


ANYWHERE = Conditions()
LEVELLED = replace(ANYWHERE, levelled=0.35)
STUDIO = Conditions(
    level=(-24.0, -18.0), rooms=0.0, snr=(35.0, 50.0), hums=0.0, phones=0.0, overdriven=0.0, mp3=0.0
)


def record(rng: np.random.Generator, sound: np.ndarray, conditions: Conditions) -> np.ndarray:
    """`sound` recorded somewhere that `conditions` allow, float32, peaks under 1."""
    if rng.random() < conditions.rooms:
        decay, wet = (
            float(np.exp(rng.uniform(*np.log(span)))) for span in (conditions.decay, conditions.wet)
        )
        sound = reverberate(sound, decay, wet, rng)
    sound = add_noise(
        sound, rng.uniform(*conditions.snr), rng, float(rng.choice([0.0, -3.0, -5.0]))
    )
    if rng.random() < conditions.hums:
        sound = add_hum(sound, rng.uniform(*conditions.hum_snr), float(rng.choice([50, 60])), rng)
    if rng.random() < conditions.phones:
        low, high = rng.uniform(120.0, 400.0), rng.uniform(3_300.0, 7_500.0)
        sound = through_microphone(sound, low, high, 3.0, rng)
    else:
        sound = through_microphone(sound, rng.uniform(40.0, 90.0), 7_800.0, 1.5, rng)
    if rng.random() < conditions.overdriven:
        sound = overdrive(sound, rng.uniform(1.2, 3.5))
    if conditions.levelled and rng.random() < conditions.levelled:
        sound = even_out(sound, rng.uniform(1.5, 5.0), rng.uniform(0.08, 0.5))
    level = 10.0 ** (rng.uniform(*conditions.level) / 20)
    gain = min(level / (rms(sound) + 1e-9), 0.99 / (float(np.abs(sound).max(initial=0.0)) + 1e-9))
    sound = (gain * sound).astype(np.float32)
    if rng.random() < conditions.mp3:
        sound = through_mp3(sound, rng.uniform(0.6, 0.93))
    return sound


def rms(sound: np.ndarray) -> float:
    """Root mean square of the parts that are not silent (above -40 dB of the peak)."""
    loud = sound[np.abs(sound) > 0.01 * np.abs(sound).max(initial=0.0)]
    return float(np.sqrt(np.mean(np.square(loud, dtype=np.float64)))) if loud.size else 0.0


def add_noise(
    sound: np.ndarray, snr: float, rng: np.random.Generator, slope: float = 0.0
) -> np.ndarray:
    """Steady noise `snr` dB below the sound's loud parts.

    slope: dB per octave, 0 white, -3 pink, -6 brown. Silence stays silent.
    """
    size = scipy.fft.next_fast_len(len(sound), real=True)
    frequency = np.maximum(scipy.fft.rfftfreq(size, 1.0 / SAMPLE_RATE), 40.0)
    spectrum = np.asarray(scipy.fft.rfft(rng.standard_normal(size, dtype=np.float32)))
    if slope:
        spectrum *= (frequency ** (slope / 6.02)).astype(np.float32)
    noise = scipy.fft.irfft(spectrum, size)[: len(sound)]
    spread = float(np.sqrt(np.mean(np.square(noise, dtype=np.float64)))) + 1e-12
    return np.asarray(sound + rms(sound) * 10.0 ** (-snr / 20) / spread * noise, np.float32)


def add_hum(sound: np.ndarray, snr: float, mains: float, rng: np.random.Generator) -> np.ndarray:
    """Hum of the mains (`mains` Hz, 50 or 60) and its harmonics, `snr` dB below the sound."""
    phase = 2 * np.pi * mains / SAMPLE_RATE * np.arange(len(sound))
    weights = np.array([1.0, 0.6, 0.4, 0.15, 0.2]) * rng.uniform(0.3, 1.0, 5)
    shifts = rng.uniform(0.0, 2 * np.pi, 5)
    hum = sum(
        w * np.sin(k * phase + s) for k, (w, s) in enumerate(zip(weights, shifts, strict=True), 1)
    )
    level = rms(sound) * 10.0 ** (-snr / 20) / float(np.sqrt(np.sum(weights**2) / 2))
    return np.asarray(sound + level * hum, np.float32)


def reverberate(
    sound: np.ndarray, decay: float, wet: float, rng: np.random.Generator
) -> np.ndarray:
    """The sound in a room: the direct sound, a few early echoes and a tail.

    decay: s until the tail has fallen by 60 dB. wet: energy of all echoes to the direct sound's.
    The tail is noise that decays exponentially, quicker at high frequencies (Moorer 1979).
    """
    count = max(64, int(decay * SAMPLE_RATE))
    time = np.arange(count) / SAMPLE_RATE
    tail = rng.standard_normal(count) * 10.0 ** (-3.0 * time / decay)
    dark = np.asarray(scipy.signal.lfilter([0.35], [1.0, -0.65], tail))
    blend = np.minimum(time / decay, 1.0)
    tail = (1.0 - blend) * tail + blend * dark
    tail[: int(rng.uniform(0.002, 0.02) * SAMPLE_RATE)] = 0.0
    for _ in range(6):
        at = int(rng.uniform(0.002, 0.05) * SAMPLE_RATE)
        if at < count:
            tail[at] += rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 3.0)
    tail *= np.sqrt(wet / (np.sum(tail**2) + 1e-12))
    tail[0] = 1.0
    return np.asarray(
        scipy.signal.oaconvolve(sound, tail.astype(np.float32))[: len(sound)], np.float32
    )


def through_microphone(
    sound: np.ndarray, low: float, high: float, bumps: float, rng: np.random.Generator
) -> np.ndarray:
    """The sound through a microphone that hears `low` to `high` Hz, with an uneven response.

    bumps: dB, spread of the response between the two. Its phase is linear and its delay taken
    away, as the response is laid over the spectrum of the whole sound.
    """
    size = scipy.fft.next_fast_len(len(sound) + SAMPLE_RATE // 8, real=True)
    frequency = scipy.fft.rfftfreq(size, 1.0 / SAMPLE_RATE)
    knots = np.geomspace(60.0, SAMPLE_RATE / 2, 9)
    octaves = np.log2(np.maximum(frequency, 20.0))
    response = np.interp(octaves, np.log2(knots), rng.normal(0.0, bumps, len(knots)))
    response -= 12.0 * np.maximum(np.log2(low) - octaves, 0.0)  # dB; 12 per octave below
    response -= 24.0 * np.maximum(octaves - np.log2(high), 0.0)
    spectrum = scipy.fft.rfft(sound, size) * (10.0 ** (response / 20)).astype(np.float32)
    return np.asarray(scipy.fft.irfft(spectrum, size)[: len(sound)], np.float32)


def overdrive(sound: np.ndarray, drive: float) -> np.ndarray:
    """The sound too loud for its microphone by a factor of `drive`: soft clipping."""
    peak = float(np.abs(sound).max(initial=0.0)) + 1e-12
    return np.asarray(peak * np.tanh(drive * sound / peak) / np.tanh(drive), np.float32)


def even_out(sound: np.ndarray, ratio: float, release: float) -> np.ndarray:
    """The sound through an automatic gain: what is over -24 dB of its peak stands out less.

    ratio: by how much less, 1 not at all. release: s, how slowly the gain comes back after a loud
    part; it gives way within 10 ms. A compressor as Giannoulis, Massberg and Reiss (2012) have it.
    """
    hop = SAMPLE_RATE // 200
    padded = np.pad(np.abs(sound), (0, -len(sound) % hop))
    decibels = 20 * np.log10(padded.reshape(-1, hop).max(axis=1) + 1e-6)
    over = np.maximum(decibels - decibels.max() + 24.0, 0.0) * (1.0 - 1.0 / ratio)
    reduction = np.zeros(len(over))
    rise, fall = np.exp(-0.5), np.exp(-0.005 / release)
    at = 0.0
    for step, wanted in enumerate(over):
        keep = rise if wanted > at else fall
        at = keep * at + (1.0 - keep) * float(wanted)
        reduction[step] = at
    each = np.interp(np.arange(len(sound)), (np.arange(len(over)) + 0.5) * hop, reduction)
    return np.asarray(sound * 10.0 ** (-each / 20), np.float32)


def through_mp3(sound: np.ndarray, squeeze: float) -> np.ndarray:
    """The sound as MP3 and back, in memory.

    squeeze: 0 to 1, libsndfile's compression level: at 16 kHz 0.2 is 130 kbit/s, 0.9 is 24.
    The codec's own delay is taken away.
    """
    memory = io.BytesIO()
    with soundfile.SoundFile(
        memory,
        "w",
        SAMPLE_RATE,
        1,
        format="MP3",
        bitrate_mode="CONSTANT",
        compression_level=squeeze,
    ) as file:
        file.write(np.clip(sound, -1.0, 1.0))
    memory.seek(0)
    heard, _ = soundfile.read(memory, dtype="float32")
    if len(heard) > len(sound):  # without a LAME tag the decoder cannot know what was put before
        heard = heard[_MP3_DELAY:]
    return np.pad(heard[: len(sound)], (0, max(0, len(sound) - len(heard))))

"""Audio in, the model's input frames out: Whisper's log-mel and a log-frequency spectrogram.

`log_mel` equals transformers' WhisperFeatureExtractor on 30 s of audio (a test holds it), and is
cropped to the audio's own length instead of always being 30 s long. `log_frequency` is a finer
spectrogram beside it: below 1 kHz, 80 mel bands lie 37 Hz apart, which is 5 semitones at
110 Hz and 2 at 330 Hz.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from transformers.audio_utils import mel_filter_bank

from karaoke_train.audio.units import FRAME, HOP, SAMPLE_RATE, SILENT, frame_count

# Peak of full scale, -20 dB: softer segments are raised to it. Songs as loud or louder are heard
# alike; 30 dB below it a third of the notes would be lost, and be found in noise instead.
QUIET = 0.1
N_FFT = 400  # samples, 25 ms
LOG_WINDOW = 2048  # samples, 128 ms: resolves the harmonics of a voice down to 65 Hz
LOG_FFT = 4096  # zero-padded twice: a bin is 3.9 Hz, a third of a semitone at 200 Hz
NYQUIST_MIDI = 119.0  # 7.9 kHz


@dataclass(frozen=True, slots=True)
class FeatureSettings:
    """What the model's input looks like; stored in the checkpoint, so that it can't be mixed up.

    mel_bands: 80, or 128 for Whisper large-v3.
    midi_min, midi_max: MIDI numbers of the first and the last pitch class (36 = C2 = 65 Hz,
        93 = A6 = 1760 Hz covers the singing voice).
    bins_per_semitone: pitch classes and rows of the log-frequency spectrogram per semitone; 3
        gives 33 cents, as in basic-pitch (Bittner et al. 2022).
    semitones_below: how far under `midi_min` the log-frequency spectrogram starts (12: the
        sub-octave, the first of the harmonic stack).
    """

    mel_bands: int = 80
    midi_min: int = 36
    midi_max: int = 93
    bins_per_semitone: int = 3
    semitones_below: int = 12

    @property
    def pitch_classes(self) -> int:
        """Number of pitch classes, both ends included."""
        return (self.midi_max - self.midi_min) * self.bins_per_semitone + 1

    @property
    def frequency_bins(self) -> int:
        """Rows of the log-frequency spectrogram, from `spectrogram_min` to 7.9 kHz."""
        return int((NYQUIST_MIDI - self.spectrogram_min) * self.bins_per_semitone) + 1

    @property
    def spectrogram_min(self) -> int:
        """MIDI number of the log-frequency spectrogram's first row."""
        return self.midi_min - self.semitones_below


@dataclass(frozen=True, slots=True)
class Features:
    """One segment's input.

    mel: float32 (mel_bands, 2 * frames), Whisper's scale, about -1 to 1.5.
    log_frequency: float32 (frequency_bins, frames), the same scale.
    """

    mel: torch.Tensor
    log_frequency: torch.Tensor

    @property
    def frames(self) -> int:
        """Number of 20 ms frames."""
        return self.log_frequency.shape[-1]


def extract(audio: np.ndarray, settings: FeatureSettings) -> Features:
    """Both spectrograms of one segment, of which a quiet one is raised to a peak of `QUIET`.

    audio: float32 (samples,) at 16 kHz mono, at most 30 s; padded with silence to whole frames.
    Raises ValueError for anything that isn't one-dimensional.
    """
    if audio.ndim != 1:
        raise ValueError(f"expected mono audio of shape (samples,), not {audio.shape}")
    wave = _raised(torch.from_numpy(np.ascontiguousarray(audio, dtype=np.float32)))
    frames = frame_count(wave.shape[0])
    wave = torch.nn.functional.pad(wave, (0, frames * FRAME - wave.shape[0]))
    return Features(
        mel=log_mel(wave, settings.mel_bands), log_frequency=log_frequency(wave, settings)
    )


def _raised(wave: torch.Tensor) -> torch.Tensor:
    """A wave with a peak of `QUIET` at least; silence stays silent."""
    peak = float(wave.abs().max()) if wave.numel() else 0.0
    return wave * (QUIET / peak) if SILENT <= peak < QUIET else wave


def log_mel(wave: torch.Tensor, bands: int) -> torch.Tensor:
    """Whisper's log-mel spectrogram, float32 (bands, samples // 160).

    wave: float32 (samples,), a whole number of frames. Source: Radford et al. 2022, section 2.2.
    """
    spectrum = torch.stft(
        _reflectable(wave, N_FFT), N_FFT, HOP, window=torch.hann_window(N_FFT), return_complex=True
    )
    power = spectrum[:, : wave.shape[0] // HOP].abs().square()
    return _whisper_scale(_mel_matrix(bands) @ power)


def log_frequency(wave: torch.Tensor, settings: FeatureSettings) -> torch.Tensor:
    """Power at equal-tempered steps, float32 (frequency_bins, samples // 320).

    A 128 ms STFT read off at log-spaced frequencies: cheaper than a constant-Q transform, and a
    voice's lower harmonics lie apart in it. Row k is MIDI pitch
    `spectrogram_min + k / bins_per_semitone`.
    """
    spectrum = torch.stft(
        _reflectable(wave, LOG_FFT),
        LOG_FFT,
        FRAME,
        win_length=LOG_WINDOW,
        window=torch.hann_window(LOG_WINDOW),
        return_complex=True,
    )
    power = spectrum[:, : wave.shape[0] // FRAME].abs().square() / (LOG_WINDOW / N_FFT) ** 2
    left, weight = _reading_points(settings)
    log = _whisper_scale(power)
    return log[left] * (1 - weight) + log[left + 1] * weight


def _whisper_scale(power: torch.Tensor) -> torch.Tensor:
    """Log10 power, at most 80 dB below the loudest point, moved to about -1 to 1.5."""
    log = power.clamp(min=1e-10).log10()
    return (torch.maximum(log, log.max() - 8.0) + 4.0) / 4.0


def _reflectable(wave: torch.Tensor, n_fft: int) -> torch.Tensor:
    """Add silence to audio too short for the STFT's reflected edges; cut off again by callers."""
    missing = n_fft // 2 + 1 - wave.shape[0]
    return torch.nn.functional.pad(wave, (0, missing)) if missing > 0 else wave


@lru_cache(maxsize=2)
def _mel_matrix(bands: int) -> torch.Tensor:
    """Whisper's mel filters, float32 (bands, 201)."""
    filters = mel_filter_bank(
        num_frequency_bins=1 + N_FFT // 2,
        num_mel_filters=bands,
        min_frequency=0.0,
        max_frequency=8000.0,
        sampling_rate=SAMPLE_RATE,
        norm="slaney",
        mel_scale="slaney",
    )
    return torch.from_numpy(filters.T.astype(np.float32)).contiguous()


@lru_cache(maxsize=2)
def _reading_points(settings: FeatureSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """For each log-frequency row: the FFT bin on its left (rows,), its weight (rows, 1)."""
    steps = np.arange(settings.frequency_bins) / settings.bins_per_semitone
    midi = settings.spectrogram_min + steps
    position = 440.0 * 2 ** ((midi - 69) / 12) * LOG_FFT / SAMPLE_RATE
    left = np.floor(position).astype(np.int64)
    weight = (position - left).astype(np.float32)[:, None]
    return torch.from_numpy(left), torch.from_numpy(weight)

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from karaoke_train.audio.features import QUIET, FeatureSettings, extract
from karaoke_train.audio.units import SAMPLE_RATE, SILENT, frame_count


def noise(seconds: float) -> np.ndarray:
    rng = np.random.default_rng(3)
    return (0.1 * rng.standard_normal(round(seconds * SAMPLE_RATE))).astype(np.float32)


@pytest.mark.parametrize("bands", [80, 128])
def test_mel_of_30_seconds_equals_transformers_whisper_extractor(bands: int) -> None:
    audio = noise(30)
    extractor = WhisperFeatureExtractor(feature_size=bands)
    theirs = extractor(audio, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features[0]
    ours = extract(audio, FeatureSettings(mel_bands=bands)).mel
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_features_are_as_long_as_the_audio_not_30_seconds() -> None:
    features = extract(noise(1.99), FeatureSettings())
    assert features.frames == 100
    assert features.mel.shape == (80, 200)
    assert features.log_frequency.shape == (FeatureSettings().frequency_bins, 100)


@pytest.mark.parametrize("samples", [0, 1, 319, 320, 321])
def test_audio_shorter_than_the_windows_still_has_frames(samples: int) -> None:
    features = extract(np.zeros(samples, np.float32), FeatureSettings())
    assert features.frames == frame_count(samples)
    assert torch.isfinite(features.mel).all()


@pytest.mark.parametrize("midi", [45, 57, 69, 81])
def test_log_frequency_row_of_a_sine_is_its_pitch(midi: int) -> None:
    settings = FeatureSettings()
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    sine = np.sin(2 * np.pi * 440 * 2 ** ((midi - 69) / 12) * time).astype(np.float32)
    row = int(extract(sine, settings).log_frequency[:, 25].argmax())
    heard = settings.spectrogram_min + row / settings.bins_per_semitone
    assert heard == pytest.approx(midi, abs=0.5)


@pytest.mark.parametrize("factor", [0.3, 0.01, 0.001])
def test_a_soft_recording_looks_like_a_louder_one(factor: float) -> None:
    loud = QUIET / np.abs(noise(2)).max() * noise(2)
    whole, soft = (extract(f * loud, FeatureSettings()) for f in (1.0, factor))
    torch.testing.assert_close(soft.mel, whole.mel, atol=1e-4, rtol=0)
    torch.testing.assert_close(soft.log_frequency, whole.log_frequency, atol=1e-4, rtol=0)


def test_silence_is_not_made_louder() -> None:
    hiss = (0.9 * SILENT * np.sign(noise(1))).astype(np.float32)
    quiet, loud = (extract(sound, FeatureSettings()).mel for sound in (hiss, noise(1)))
    assert quiet.max() < loud.min()


def test_stereo_audio_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"mono .* not \(100, 2\)"):
        extract(np.zeros((100, 2), np.float32), FeatureSettings())

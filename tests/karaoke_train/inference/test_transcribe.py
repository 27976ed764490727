from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from karaoke_train.audio.features import FeatureSettings
from karaoke_train.dataset.targets import frame_targets
from karaoke_train.inference.metrics import count_notes
from karaoke_train.inference.transcribe import FileSound, VoiceToNotes, windows
from karaoke_train.model.device import DeviceError, pick_device, the_only
from karaoke_train.model.model import VoiceToNotesModel
from karaoke_train.notes import Note
from tests.karaoke_train.conftest import Ran

SETTINGS = FeatureSettings()


@pytest.mark.parametrize("frames", [1, 1499, 1500, 1501, 1699, 2800, 2801, 4100, 360_000])
def test_windows_keep_each_frame_once_with_two_seconds_of_context(frames: int) -> None:
    parts = list(windows(frames))
    assert parts[0].keep_from == 0
    assert parts[-1].keep_to == frames
    for a, b in itertools.pairwise(parts):
        assert a.keep_to == b.keep_from
        assert b.keep_from - b.start == 100
        assert a.end - a.keep_to == 100
    assert all(0 < part.end - part.start <= 1500 for part in parts)


@dataclass
class Clock:
    """A sound whose samples tell where they are, so that a fake model can answer for the place."""

    duration: float

    def load(self, start: float = 0.0, end: float | None = None) -> np.ndarray:
        count = round(
            ((self.duration if end is None else min(end, self.duration)) - start) * 16_000
        )
        self.start = start
        return np.full(count, 0.1, np.float32)


class Oracle(torch.nn.Module):
    """Answers with the targets of fixed notes for the window that was loaded last."""

    def __init__(self, sound: Clock, notes: list[Note], window: int = 1500) -> None:
        super().__init__()
        self.sound, self.notes = sound, notes
        self.config = SimpleNamespace(feature_settings=SETTINGS, window_frames=window)

    def forward(
        self, mel: Any, log_frequency: Any, lengths: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        frames, first = int(lengths[0]), round(self.sound.start / 0.02)
        whole = frame_targets(self.notes, round(self.sound.duration / 0.02) + 1500)
        part = {k: v[first : first + frames][None] for k, v in vars(whole).items()}
        classes = (
            SETTINGS.midi_min + torch.arange(SETTINGS.pitch_classes) / SETTINGS.bins_per_semitone
        )
        sharp = -8 * (part.pop("midi")[..., None] - classes).square()
        return {**{k: torch.logit(v, eps=1e-4) for k, v in part.items()}, "pitch": sharp}


@pytest.mark.parametrize("window", [1500, 500])
def test_notes_across_window_joints_are_found_once(window: int) -> None:
    notes = [Note(t * 0.5 + 0.1, t * 0.5 + 0.45, 55.0 + t % 12) for t in range(160)]
    sound = Clock(80.0)
    oracle: Any = Oracle(sound, notes, window)
    found = VoiceToNotes(oracle, "cpu").transcribe(sound)
    counts = count_notes(notes, found)
    assert len(found) == len(notes)
    assert counts.full == len(notes)


@pytest.mark.parametrize("size", [1, 4, 120, 250, 500])
def test_short_windows_cover_everything_too(size: int) -> None:
    parts = list(windows(1234, size))
    assert [p.keep_to for p in parts[:-1]] == [p.keep_from for p in parts[1:]]
    assert (parts[0].keep_from, parts[-1].keep_to) == (0, 1234)
    assert all(0 < part.end - part.start <= size for part in parts)


@pytest.mark.parametrize("level", [0.0, 5e-5])
def test_silence_has_no_notes_whatever_a_model_would_hear_in_it(
    level: float, tiny_model: VoiceToNotesModel
) -> None:
    class Quiet(Clock):
        def load(self, start: float = 0.0, end: float | None = None) -> np.ndarray:
            sound = super().load(start, end)
            return np.full_like(sound, level)

    with torch.no_grad():
        tiny_model.heads.events.bias.fill_(5.0)  # it hears voice everywhere
    model = VoiceToNotes(tiny_model, "cpu")
    assert model.transcribe(Quiet(70.0)) == []
    assert len(model.posteriors(Quiet(70.0)).pitch) == 3500


def test_long_note_through_a_joint_stays_one() -> None:
    sound = Clock(60.0)
    notes = [Note(20.0, 40.0, 60.0)]
    found = VoiceToNotes(Oracle(sound, notes), "cpu").transcribe(sound)  # type: ignore[arg-type]
    assert len(found) == 1


def test_python_api_hears_a_file_as_the_file_is(fast_dev: Ran, tmp_path: Path) -> None:
    """Stereo at 44.1 kHz, half a second: nothing is assumed of a file."""
    path = tmp_path / "short.wav"
    time = np.arange(22_050) / 44_100
    tone = 0.3 * np.sin(2 * np.pi * 220 * time)
    soundfile.write(path, np.stack([tone, tone], axis=1), 44_100)
    model = VoiceToNotes.from_pretrained(fast_dev.best(), "cpu")
    with FileSound(path) as sound:
        assert sound.duration == pytest.approx(0.5)
    assert all(0 <= note.onset < note.offset <= 0.52 for note in model.transcribe(path))


def test_two_hours_are_read_a_window_at_a_time() -> None:
    class Counting(Clock):
        longest = 0.0

        def load(self, start: float = 0.0, end: float | None = None) -> np.ndarray:
            assert end is not None
            self.longest = max(self.longest, end - start)
            return super().load(start, end)

    sound = Counting(7200.0)
    parts = list(windows(360_000))
    for part in parts[:3]:
        sound.load(part.start * 0.02, part.end * 0.02)
    assert sound.longest <= 30.0
    assert len(parts) == 277


@pytest.mark.parametrize(
    "device", ["", "tpu", "meta", "cuda", "cuda:1", "cuda:x", "auto:1", "cpu:x", "mps"]
)
def test_a_device_that_is_not_there_is_said_in_words(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=f"--device {device}: "):
        VoiceToNotes.from_pretrained("small", device)


def test_a_gpu_is_the_one_that_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [pick_device(name) for name in ("cuda", "cuda:1", "auto")] == ["cuda", "cuda:1", "cuda"]
    with pytest.raises(DeviceError, match="--device cuda:2: torch sees 2 GPUs here"):
        pick_device("cuda:2")
    assert [the_only(name) for name in ("cuda:1", "cpu")] == ["cuda", "cpu"]

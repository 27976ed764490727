"""Audio of any length in, notes out: overlapping windows, joined before they are decoded.

    VoiceToNotes.from_pretrained().transcribe("song.wav")

Windows are as long as the model's segments were in training; beyond, its sense of position
would be untried. They overlap by 4 s and each gives up 2 s at its inner edges, so that every frame
is judged with context on both sides. The decoder takes them as one: no note is found twice. It
forgets what it has decided, so that hours need hardly more memory than seconds.
"""

# mypy: allow-untyped-calls
# (transformers is typed in part only)

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
import torch
from tqdm import tqdm

from karaoke_train.audio import io
from karaoke_train.audio.features import extract
from karaoke_train.audio.units import (
    FRAME,
    FRAME_SECONDS,
    MAX_FRAMES,
    SAMPLE_RATE,
    SILENT,
    frame_count,
)
from karaoke_train.model.checkpoints import load_model
from karaoke_train.model.decode import DecodeOptions, Posteriors, decode_parts
from karaoke_train.model.device import pick_device
from karaoke_train.model.model import unpack_posteriors
from karaoke_train.settings import MODEL

if TYPE_CHECKING:
    from karaoke_train.audio.features import FeatureSettings
    from karaoke_train.model.model import VoiceToNotesModel
    from karaoke_train.notes import Note

EDGE = 100  # frames, 2 s given up at each inner edge of a window; less where it is short


class Sound(Protocol):
    """Anything that can be loaded in parts: a song, or a file through `FileSound`."""

    @property
    def duration(self) -> float:
        """Seconds."""

    def load(self, start: float = 0.0, end: float | None = None) -> np.ndarray:
        """float32 mono 16 kHz, shape (samples,)."""


class FileSound:
    """An audio file, read a window at a time: two hours need no more memory than 30 s of sound."""

    def __init__(self, path: Path | str) -> None:
        """Raises AudioError when the file can't be used."""
        self.path = Path(path)
        self.duration = io.probe(self.path)
        self._reader = io.Reader(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def load(self, start: float = 0.0, end: float | None = None) -> np.ndarray:
        """The samples between two times. Raises AudioError."""
        return self._reader.read(start, end)


@dataclass(frozen=True)
class Window:
    """Frames `start` to `end` are looked at; of the result, `keep_from` to `keep_to` is kept."""

    start: int
    end: int
    keep_from: int
    keep_to: int


def windows(frames: int, size: int = MAX_FRAMES) -> Iterator[Window]:
    """Windows of `size` frames whose kept parts cover `frames` frames, each frame once."""
    edge = min(EDGE, size // 5)
    step = size - 2 * edge
    start = 0
    while True:
        end = min(start + size, frames)
        keep_from = start + edge if start else 0
        if end == frames:
            yield Window(start, end, keep_from, frames)
            return
        yield Window(start, end, keep_from, end - edge)
        start += step


class VoiceToNotes:
    """A trained model, ready to write down songs.

    device: auto, cpu, cuda or mps. Raises DeviceError. Not thread-safe.
    """

    def __init__(self, model: VoiceToNotesModel, device: str = "auto") -> None:
        self.device = pick_device(device)
        self.model = model.eval().to(self.device)
        self.settings: FeatureSettings = model.config.feature_settings

    @classmethod
    def from_pretrained(
        cls, model: Path | str = MODEL, device: str = "auto", *, encoder: str | None = None
    ) -> VoiceToNotes:
        """A model of the package by its name, or the one in a checkpoint's folder.

        encoder: where the Whisper is that the model names, if not on the hub or in its folder of
        then. Raises CheckpointError, DeviceError.
        """
        return cls(load_model(model, encoder=encoder), device)

    def transcribe(
        self,
        sound: Path | str | Sound,
        *,
        options: DecodeOptions | None = None,
        progress: bool = False,
    ) -> list[Note]:
        """The notes of an audio file (or song), in order. Raises AudioError."""
        if isinstance(sound, str | Path):
            with FileSound(sound) as file:
                return self.transcribe(file, options=options, progress=progress)
        return decode_parts(self.listen(sound, progress=progress), self.settings, options)

    def posteriors(self, sound: Sound) -> Posteriors:
        """What the model says of each 20 ms frame of the whole sound: 63 MB for an hour."""
        return Posteriors.joined(list(self.listen(sound)))

    def listen(self, sound: Sound, *, progress: bool = False) -> Iterator[Posteriors]:
        """The same part by part, as the sound is read. Raises AudioError."""
        frames = frame_count(round(sound.duration * SAMPLE_RATE))
        parts = list(windows(frames, self.model.config.window_frames))
        for part in tqdm(parts, desc="listening", unit="window", disable=not progress):
            yield self._window(sound, part)

    def _window(self, sound: Sound, part: Window) -> Posteriors:
        samples = sound.load(part.start * FRAME_SECONDS, part.end * FRAME_SECONDS)
        wanted = (part.end - part.start) * FRAME
        # A header may promise more than the file holds: what's missing is silence.
        samples = np.pad(samples[:wanted], (0, max(0, wanted - len(samples))))
        kept = part.keep_to - part.keep_from
        if np.abs(samples).max() < SILENT:
            none, classes = np.zeros(kept, np.float32), self.settings.pitch_classes
            return Posteriors(none, none, none, np.full((kept, classes), 1 / classes, np.float16))
        features = extract(samples, self.settings)
        with torch.inference_mode():
            output = self.model(
                mel=features.mel[None].to(self.device),
                log_frequency=features.log_frequency[None].to(self.device),
                lengths=torch.tensor([features.frames], device=self.device),
            )
        [heard] = unpack_posteriors(output, [features.frames])
        heard = heard.part(part.keep_from - part.start, part.keep_to - part.start)
        return replace(heard, pitch=heard.pitch.astype(np.float16))  # half of what is kept

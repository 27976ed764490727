"""Small audio and label files for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soundfile

from karaoke_train.notes import Note

if TYPE_CHECKING:
    from pathlib import Path

NOTES = (Note(0.1, 0.4, 60.0), Note(0.5, 0.9, 62.5))
CSV = "onset,offset,pitch\n0.1,0.4,60\n0.5,0.9,62.5\n"


def tone(seconds: float, rate: int = 16_000, hertz: float = 440.0) -> np.ndarray:
    """A sine of amplitude 0.5, float64, (samples,)."""
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def wav(path: Path, seconds: float = 1.0, rate: int = 16_000, channels: int = 1) -> Path:
    """A file with a tone in it; the suffix says its format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.tile(tone(seconds, rate)[:, None], channels), rate)
    return path


def text(path: Path, content: str | bytes) -> Path:
    """A file with `content` in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path

"""An audio file -> mono samples at 16 kHz, as much of it as was asked for."""

from __future__ import annotations

import stat
from math import gcd
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from scipy.signal import resample_poly

from karaoke_train.audio.units import SAMPLE_RATE

if TYPE_CHECKING:
    from pathlib import Path

# libsndfile reads all but .m4a, which is named in its words rather than passed over: a song that
# is left out in silence is looked for in the wrong place.
SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aiff", ".aif", ".m4a")

# SFE_BAD_FILE, "File does not exist or is not a regular file": what libsndfile says of any .mp3
# that its decoder, mpg123, does not know for one. It says so of no other file that is there
_BAD_FILE = 7
_RATES = (1_000, 768_000)  # Hz; beyond these a header is damaged, not unusual
_SETTLE = 160  # output samples read on each side, so that the resampler's edges are cut off
_PROBE = 1_600  # frames read at the file's end to see that the end is there


class AudioError(ValueError):
    """An audio file cannot be used. The message names the file, the fault and the remedy."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type[AudioError], tuple[Path, str]]:
        return type(self), (self.path, self.reason)  # workers send their errors pickled


def probe(path: Path) -> float:
    """Seconds of audio in `path`, after a look at its header and at its end.

    Raises AudioError when the file is no audio, holds none, or breaks off. What lies between
    header and end is not read: a damaged middle shows in `read`.
    """
    with _opened(path) as file:
        if file.frames <= 0:
            raise AudioError(path, "holds no sound; record or convert it again")
        if not _RATES[0] <= file.samplerate <= _RATES[1]:
            raise AudioError(path, f"claims {file.samplerate} samples per second; convert it again")
        tail = min(_PROBE, file.frames)
        if _frames(file, path, file.frames - tail, tail).shape[0] < tail:
            raise AudioError(path, "breaks off before its end; copy or convert it again")
        return float(file.frames) / float(file.samplerate)


def read(path: Path, start: float = 0.0, end: float | None = None) -> np.ndarray:
    """The samples of `path` from `start` to `end` (seconds; `None`: to its end).

    Returns float32 in [-1, 1], shape (samples,), 16 kHz. Channels are averaged. Other rates go
    through scipy's polyphase resampler (`scipy.signal.resample_poly`, Kaiser 5.0 window), over
    the part asked for and a little on each side, so a two-hour file costs no more than its
    part, and parts join without a seam. Raises AudioError.
    """
    with _opened(path) as file:
        common = gcd(SAMPLE_RATE, file.samplerate)
        up, down = SAMPLE_RATE // common, file.samplerate // common
        length = -(-file.frames * up // down)
        first = max(0, round(start * SAMPLE_RATE))
        last = length if end is None else min(length, round(end * SAMPLE_RATE))
        if last <= first:
            return np.zeros(0, np.float32)
        # Whole blocks of up:down, so that the part's samples fall where the whole file's would.
        block = max(0, first - _SETTLE) // up
        until = min(file.frames, -(-(last + _SETTLE) // up) * down)
        sound = _frames(file, path, block * down, until - block * down)
    if not np.isfinite(sound).all():
        raise AudioError(path, "holds samples that are not numbers; convert it again")
    mono = sound.mean(axis=1)
    if up != down:
        mono = resample_poly(mono, up, down)
    part = np.clip(mono[first - block * up : last - block * up], -1.0, 1.0)
    return np.asarray(part, np.float32)


def _opened(path: Path) -> soundfile.SoundFile:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise AudioError(path, "is not there; it was moved or deleted") from None
    except (OSError, ValueError) as error:  # ValueError: a name that is none
        raise AudioError(path, f"can't be read ({_said(error)})") from error
    if not stat.S_ISREG(found.st_mode):
        raise AudioError(path, "is no file; name the audio file itself")
    if not found.st_size:
        raise AudioError(path, "is empty; copy or convert it again")
    try:
        return soundfile.SoundFile(path)
    except (soundfile.SoundFileError, OSError) as error:
        remedy = "; convert it to .wav or .flac" if path.suffix.lower() == ".m4a" else ""
        reason = f"is no audio that can be read ({_said(error)}){remedy}"
        raise AudioError(path, reason) from error


def _frames(file: soundfile.SoundFile, path: Path, start: int, count: int) -> np.ndarray:
    try:
        file.seek(start)
        return np.asarray(file.read(count, dtype="float32", always_2d=True))
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(path, f"is damaged: {_said(error)}; copy or convert it again") from error


def _said(error: Exception) -> str:
    if getattr(error, "code", None) == _BAD_FILE:
        return "its decoder finds no MPEG audio in it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(getattr(error, "error_string", error)).rstrip(".") or type(error).__name__

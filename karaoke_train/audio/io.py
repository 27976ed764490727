"""An audio file -> mono samples at 16 kHz, as much of it as was asked for."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import ExitStack
from functools import lru_cache
from math import gcd
from typing import IO, TYPE_CHECKING, Self

import numpy as np
import scipy
import soundfile

from karaoke_train.audio import chunks, mpeg
from karaoke_train.audio.units import SAMPLE_RATE

if TYPE_CHECKING:
    from io import RawIOBase
    from pathlib import Path

# libsndfile reads all but .m4a, which is named in its words rather than passed over: a song that
# is left out in silence is looked for in the wrong place.
SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aiff", ".aif", ".m4a")

# SFE_BAD_FILE, "File does not exist or is not a regular file": what libsndfile says of any .mp3
# that its decoder, mpg123, does not know for one. It says so of no other file that is there
_BAD_FILE = 7
_RATES = (1_000, 768_000)  # Hz; beyond these a header is damaged, not unusual
_SETTLE = 160  # output samples read on each side, so that the resampler's edges are cut off
_BLOCK = 32_000  # output samples, 2 s, that are resampled at once
# Of the power that the mean of unrelated channels has; less, and they cancel each other out
_CANCELLED = 0.1
# Frames of the file before a part that are read with it from an .mp3. What an MPEG frame needs may
# stand in those before it (its "bit reservoir", of up to 255 bytes, or 511): behind a jump they are
# silent or wrong. The smallest ones, of 576 samples at 24 kHz and 8 kbit/s, hold 3 bytes each
_LEAD = 85 * 576
_LOUDEST = 100.0  # more is no loud recording but whole numbers that were stored as floats
_COPIED = 1 << 18  # frames at once
_PROBE = 1_600  # frames read at the file's end to see that the end is there
# Bytes that a file may lack on the disk, where it reads as zeros, and so may the half of a longer
# one: zfs, and copies that make holes of digital silence, leave some. Downloads that make the file
# in its full size first, and break off, leave more: four GB would be a day of silence, which takes
# minutes to read
_UNWRITTEN = 64 << 20


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
            raise AudioError(
                path,
                "holds no sound, as its header says; record it again, or convert it, where a "
                "recorder was ended before it wrote the length",
            )
        if not _RATES[0] <= file.samplerate <= _RATES[1]:
            raise AudioError(path, f"claims {file.samplerate} samples per second; convert it again")
        if _breaks_off(file, path):
            raise AudioError(path, "breaks off before its end; copy or convert it again")
        return float(file.frames) / float(file.samplerate)


def _breaks_off(file: soundfile.SoundFile, path: Path) -> bool:
    tail = min(_PROBE, file.frames)
    try:
        found = _frames(file, path, file.frames - tail, tail).shape[0]
        return found < tail or chunks.missing(path) > 0
    except OSError as error:
        raise AudioError(path, f"can't be read ({_said(error)})") from error


def read(path: Path, start: float = 0.0, end: float | None = None) -> np.ndarray:
    """The samples of `path` from `start` to `end` (seconds; `None`: to its end), as `Reader` has
    them. Raises AudioError."""
    with Reader(path) as reader:
        return reader.read(start, end)


class Reader:
    """An audio file that is read part by part.

    Other rates go through scipy's polyphase resampler (`scipy.signal.resample_poly`, Kaiser 5.0
    window), block by block, so a two-hour file costs no more than its longest part, and parts join
    without a seam. A part that begins within the one before it, or right behind, is read on from
    there: some formats are slow to seek in. Raises AudioError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _opened(path)
        common = gcd(SAMPLE_RATE, self._file.samplerate)
        self._up, self._down = SAMPLE_RATE // common, self._file.samplerate // common
        self._length = -(-self._file.frames * self._up // self._down)
        self._first = self._next = 0  # samples at 16 kHz that are at hand: from, to
        self._sound = self._raw = np.zeros((0, self._file.channels), np.float32)
        self._raw_first: int | None = None  # the first frame of the file's that is at hand

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, start: float = 0.0, end: float | None = None) -> np.ndarray:
        """The samples from `start` to `end` (seconds; `None`: to the file's end).

        Returns float32 in [-1, 1], shape (samples,), 16 kHz. Channels are averaged; where that
        leaves next to nothing of them, the loudest one is taken alone.
        """
        first = max(0, round(start * SAMPLE_RATE))
        last = self._length if end is None else min(self._length, round(end * SAMPLE_RATE))
        if last <= first:
            return np.zeros(0, np.float32)
        if not self._first <= first <= self._next:
            self._restart(first)
        blocks = [self._sound[first - self._first :]]
        while self._next < last and len(block := self._block(min(last, self._next + _BLOCK))):
            blocks.append(block)
            self._next += len(block)
        self._sound, self._first = np.concatenate(blocks), first
        return np.asarray(_mixed(self._sound[: last - first]).clip(-1.0, 1.0))

    def _restart(self, first: int) -> None:
        self._first = self._next = first
        self._sound = self._sound[:0]
        self._raw_first = None

    def _block(self, until: int) -> np.ndarray:
        """The samples that follow those at hand, (samples, channels); none past the file's end."""
        # Whole blocks of up:down, so that the part's samples fall where the whole file's would.
        start = max(0, self._next - _SETTLE) // self._up
        end = -(-(until + _SETTLE) // self._up)
        sound = self._frames(start * self._down, min(self._file.frames, end * self._down))
        if self._up != self._down:
            window = _window(max(self._up, self._down))
            sound = scipy.signal.resample_poly(sound, self._up, self._down, window=window)
        block = np.asarray(sound[self._next - start * self._up : until - start * self._up])
        self._check(block)
        return block

    def _check(self, block: np.ndarray) -> None:
        if not np.isfinite(block).all():
            raise AudioError(self._path, "holds samples that are not numbers; convert it again")
        if np.abs(block).max(initial=0.0) > _LOUDEST:
            reason = f"holds samples over {_LOUDEST:.0f}, where 1 is as loud as can be"
            raise AudioError(self._path, f"{reason}; convert it again")

    def _frames(self, start: int, end: int) -> np.ndarray:
        """Frames of the file, after those at hand or anew."""
        if self._raw_first is None:
            lead = min(start, _LEAD) if self._file.format == "MP3" else 0
            self._raw = _frames(self._file, self._path, start - lead, lead + end - start)[lead:]
        else:
            kept = self._raw[start - self._raw_first :]
            more = max(0, end - start - len(kept))
            self._raw = np.concatenate([kept, _frames(self._file, self._path, None, more)])
        self._raw_first = start
        return self._raw


def _mixed(sound: np.ndarray) -> np.ndarray:
    """One channel of many, (samples,). A right channel that is the left one's mirror image, as
    "voice cancelling" and a swapped wire make it, would leave silence of both."""
    channels = sound.shape[1]
    mono: np.ndarray = sound.mean(axis=1)
    power = np.einsum("ij,ij->j", sound, sound, dtype=np.float64)
    left = np.einsum("i,i->", mono, mono, dtype=np.float64)
    cancelled = left * channels < _CANCELLED * power.mean()
    return np.asarray(sound[:, power.argmax()] if cancelled else mono)


@lru_cache(maxsize=4)
def _window(steps: int) -> np.ndarray:
    """What `resample_poly` filters with by default, made once and not for each block."""
    taps = scipy.signal.firwin(20 * steps + 1, 1.0 / steps, window=("kaiser", 5.0))
    return np.asarray(taps, np.float32)


class _Onwards(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file whose reads go on where the last one ended, as libsndfile has it.

    soundfile seeks to that very place after each read of a file that it can seek in, and mpg123
    forgets at any seek what the next frames of an .mp3 need (see `_LEAD`). `seek` itself works.
    """

    source: IO[bytes] | RawIOBase | None = None  # what is read in the file's place

    def seekable(self) -> bool:
        """Not as far as soundfile's own seeks go."""
        return False

    def close(self) -> None:
        """Close it, and what it was read from."""
        super().close()
        if self.source is not None:
            self.source.close()


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
    if found.st_size - 512 * found.st_blocks > _UNWRITTEN and _is_mostly_hole(path, found.st_size):
        raise AudioError(path, "was never written to its end, or has a hole; copy it again")
    try:
        # soundfile encodes a text strictly: a name that is no UTF-8 would be an error of Python's
        file = _Onwards(os.fsencode(path))
        source: IO[bytes] | RawIOBase | None = None
        if file.format == "MP3":
            source = mpeg.with_length(path, file.frames)
        elif not soundfile.SoundFile.seekable(file):
            source = _copied(file)
        if source is not None:
            file.close()
            file = _Onwards(source)
            file.source = source
        return file
    except (soundfile.SoundFileError, OSError) as error:
        reason = f"is no audio that can be read ({_said(error)}){conversion(path)}"
        raise AudioError(path, reason) from error


def _copied(file: soundfile.SoundFile) -> IO[bytes]:
    """A file without a name that holds the sound of one that libsndfile reads onwards alone, as
    .wav files of telephones (GSM 6.10, G.721)."""
    how = (file.samplerate, file.channels, "PCM_16")
    with ExitStack() as undo:
        source = undo.enter_context(tempfile.TemporaryFile())
        with soundfile.SoundFile(source, "w", *how, format="W64") as copy:  # .wav ends at 4 GB
            while len(block := file.read(_COPIED, dtype="int16", always_2d=True)):
                copy.write(block)
        source.seek(0)
        undo.pop_all()
    return source


def conversion(path: Path) -> str:
    """What to do with a file of a kind that is known and not read; empty for the others."""
    return "; convert it to .wav or .flac" if path.suffix.lower() == ".m4a" else ""


def _is_mostly_hole(path: Path, size: int) -> bool:
    """Whether most of it is not on the disk. A file system that packs what it keeps needs fewer
    blocks, too, so the file's holes are asked for."""
    at = missing = 0
    most = max(_UNWRITTEN, size // 2)
    try:
        with path.open("rb") as file:
            while at < size and missing <= most:
                hole = os.lseek(file.fileno(), at, os.SEEK_HOLE)
                try:
                    at = os.lseek(file.fileno(), hole, os.SEEK_DATA)
                except OSError:  # nothing but a hole up to the end
                    at = size
                missing += at - hole
    except OSError:  # what can't be opened is said by who reads it; others can't be asked
        return False
    return missing > most


def _frames(file: soundfile.SoundFile, path: Path, start: int | None, count: int) -> np.ndarray:
    """start: `None` goes on where the file is."""
    try:
        if start is not None:
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

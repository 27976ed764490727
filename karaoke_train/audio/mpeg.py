"""An .mp3 -> how long it is, and the same file with a header that says so.

An MPEG stream has no length in it. Encoders write it into a first frame that holds no sound
("Xing", "Info" or "VBRI"). Without one libmpg123 takes the first frame's bit rate for that of all:
cut or streamed files of changing bit rate seem to end early. Of files that were put one behind the
other, it is that of the first alone. Frames are as ISO/IEC 11172-3 and 13818-3 have them.
"""

from __future__ import annotations

import io
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from _typeshed import WriteableBuffer

_RATES: Final = (44_100, 48_000, 32_000)  # Hz, of MPEG-1; half of them in MPEG-2, a quarter in 2.5
_KBIT: Final = (  # per second, by the header's number; MPEG-1, and the others
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
_TOLD: Final = (b"Xing", b"Info", b"VBRI")
_TRIMMED: Final = 2 * 4_095  # samples that an encoder may have left out at start and end, at most
_TAG: Final = 10  # bytes that an ID3v2 tag begins with
_WORDS: Final = 100  # bytes that encoders write behind the length, and that are looked for there
_GARBAGE: Final = 1 << 16  # bytes between two frames that are searched for the second


class _Frame(NamedTuple):
    length: int  # bytes
    samples: int
    side: int  # bytes from the frame's start to where its sound begins, or an encoder's words
    kind: tuple[int, int]  # version and rate by their bits: alike in all frames of a file


class _Stream(NamedTuple):
    start: int  # byte of the first frame with sound
    header: bytes  # of that frame
    frames: int
    samples: int  # of a frame
    told: bool  # whether a length stands before them


def with_length(path: Path, claimed: int) -> io.RawIOBase | None:
    """The file with its length in front, None where the one that is read from it is right.

    claimed: samples per channel, as read from it. One that says more than it has, was broken off,
    and is left alone. Raises OSError.
    """
    found = path.stat()
    stream = _stream(path, found.st_size, found.st_mtime_ns)
    if stream is None:
        return None
    more = stream.frames * stream.samples - claimed
    rounded = 2 * stream.samples
    right = more <= _TRIMMED + rounded if stream.told else abs(more) <= rounded
    return None if right else _Led(path, _leader(stream), stream.start)


@lru_cache(maxsize=4096)
def _stream(path: Path, size: int, changed: int) -> _Stream | None:
    """What the file holds; None for no Layer III. Its size and its time are those of a version."""
    with path.open("rb") as file:
        at = _next_frame(file, _behind_tags(file))
        if at < 0:
            return None
        file.seek(at)
        head = file.read(4)
        first = _frame(head)
        assert first is not None
        file.seek(at)
        content = file.read(first.length)
        told = any(word in content for word in _TOLD)
        if told:
            at += first.length
            file.seek(at)
            head = file.read(4)
        return _Stream(at, head, _count(file, at, size, first), first.samples, told)


def _count(file: BinaryIO, at: int, size: int, like: _Frame) -> int:
    count = 0
    file.seek(at)
    while len(head := file.read(4)) == 4:
        frame = _frame(head)
        if frame is None or frame.kind != like.kind:
            at = _next_frame(file, at + 1, like.kind)
            if at < 0:
                break
            file.seek(at)
            continue
        at += frame.length
        if at > size:
            break
        count += 1
        file.seek(frame.length - 4, os.SEEK_CUR)
    return count


def _next_frame(file: BinaryIO, start: int, kind: tuple[int, int] | None = None) -> int:
    """Where two frames of a kind follow each other, -1 for nowhere near."""
    file.seek(start)
    data = file.read(_GARBAGE)
    place = data.find(b"\xff")
    while place >= 0:
        frame = _frame(data[place : place + 4])
        if frame is not None and kind in (None, frame.kind):
            after = _frame(data[place + frame.length :][:4])
            if after is not None and after.kind == frame.kind:
                return start + place
        place = data.find(b"\xff", place + 1)
    return -1


def _behind_tags(file: BinaryIO) -> int:
    at = 0
    while (tag := file.read(_TAG))[:3] == b"ID3" and len(tag) == _TAG:
        first, second, third, fourth = tag[6:]  # of 7 bits each
        at += _TAG + (first << 21 | second << 14 | third << 7 | fourth)
        file.seek(at)
    return at


def _frame(head: bytes) -> _Frame | None:
    """The frame that begins with these four bytes; None if there is none of Layer III."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, number, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or not 0 < number < 15 or rate == 3:
        return None
    older = version == 3  # MPEG-1
    hertz = _RATES[rate] >> (0 if older else 1 if version == 2 else 2)
    length = (144 if older else 72) * 1000 * _KBIT[not older][number] // hertz + (head[2] >> 1 & 1)
    side = (17 if older else 9) if head[3] >> 6 == 3 else (32 if older else 17)
    return _Frame(length, 1152 if older else 576, 4 + side, (version, rate))


def _leader(stream: _Stream) -> bytes:
    """A frame without sound that says how many follow, as Xing's encoder wrote it."""
    head = stream.header
    said = b"Xing" + (1).to_bytes(4) + stream.frames.to_bytes(4)
    starts = [bytes((0xFF, head[1] | 1, head[2] & 0x0D | n << 4, head[3])) for n in range(1, 15)]
    known = [(start, frame) for start in starts if (frame := _frame(start)) is not None]
    roomy = [one for one in known if one[1].length >= one[1].side + len(said) + _WORDS]
    start, frame = (roomy or known[-1:])[0]
    return (start + bytes(frame.side - 4) + said).ljust(frame.length, b"\0")


class _Led(io.RawIOBase):
    """A file from some byte on, with others in front of it."""

    def __init__(self, path: Path, leader: bytes, start: int) -> None:
        super().__init__()
        self._leader, self._start, self._at = leader, start, 0
        self._file = path.open("rb")
        self._size = len(leader) + os.fstat(self._file.fileno()).st_size - start

    def close(self) -> None:
        self._file.close()
        super().close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        part = self._leader[self._at : self._at + len(view)]
        if not part:
            self._file.seek(self._at - len(self._leader) + self._start)
            part = self._file.read(len(view))
        view[: len(part)] = part
        self._at += len(part)
        return len(part)

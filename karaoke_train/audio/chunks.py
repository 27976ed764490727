"""A .wav or .aiff file -> the bytes of sound that its header promises and that it lacks.

libsndfile takes as many as there are, and so reads a file that was cut short as if it were whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from pathlib import Path

_FORMS: Final[dict[tuple[bytes, bytes], tuple[Literal["little", "big"], bytes]]] = {
    (b"RIFF", b"WAVE"): ("little", b"data"),
    (b"FORM", b"AIFF"): ("big", b"SSND"),
    (b"FORM", b"AIFC"): ("big", b"SSND"),
}
# What programs write that don't know the length yet: 2^31 - 1 or a little less (sox, arecord),
# 2^32 - 1 (ffmpeg). RF64 has its length elsewhere
_UNKNOWN: Final = 0x7FFF_0000
_MOST: Final = 1_000  # chunks before the sound; a damaged file may have no end of them
# Lengths are wrong by a header's, or by a block's, without anything being missing
_SLACK: Final = 1 << 12


def missing(path: Path) -> int:
    """Bytes of sound that are promised and not there; 0 where none are, or nobody can say.

    Raises OSError.
    """
    with path.open("rb") as file:
        head = file.read(12)
        form = _FORMS.get((head[:4], head[8:12]))
        if form is None:
            return 0
        order, name = form
        size = path.stat().st_size
        for _ in range(_MOST):
            chunk = file.read(8)
            length = int.from_bytes(chunk[4:], order)
            if len(chunk) < 8 or file.tell() > size:
                return 0
            if chunk[:4] == name:
                lacking = length - (size - file.tell())
                return lacking if lacking > _SLACK and length < _UNKNOWN else 0
            file.seek(length + length % 2, 1)
    return 0

"""The lines of a read -> as many of them as one send takes.

A line of a few bytes may name a file of a hundred megabytes, which is read whole, and read again
for the next line: without a bound one send could take a thread for hours, and a stop would wait.
"""

from __future__ import annotations

from typing import Final

from karaoke_train.runlog.reader import Position, parse_line
from karaoke_train.runlog.record_types import RecordType
from syncd import memory
from syncd.source.lines import Lines
from syncd.source.marked import mark_of, marked_bytes
from syncd.source.media_folder import MediaFolder

MOST_MEDIA: Final = 100  # pictures and sounds of one send
MOST_BYTES: Final = 64 << 20  # of theirs; the one that passes it is the send's last
MOST_BESIDE: Final = 2_000  # lines of such a send: what is known of them waits for its files
_MARK: Final = mark_of(RecordType.MEDIA)


def portion(lines: Lines, most: int, media: MediaFolder) -> Lines:
    """The first of the lines: at most `most`, and fewer where files come with them."""
    if not _has_media(lines):  # nearly all
        return lines.first(most)
    return lines.first(min(most, _most_with_media(lines, media)))


def _has_media(lines: Lines) -> bool:
    """Whether files may come with them."""
    return _MARK.search(lines.data) is not None


def _most_with_media(lines: Lines, media: MediaFolder) -> int:
    count = size = 0
    for raw, at in marked_bytes(lines, _MARK):
        before = at.ordinal - lines.start.ordinal
        if count and before >= MOST_BESIDE:
            break
        name = _named(raw, at)
        if name is None:
            continue
        if before >= MOST_BESIDE:
            return before
        count += 1
        size += media.size(name)
        if count >= MOST_MEDIA or size >= MOST_BYTES:
            return before + 1
    return MOST_BESIDE if count else len(lines)


def _named(raw: bytes, at: Position) -> str | None:
    """The file that a line brings; None where it brings none."""
    with memory.for_lines(len(raw)):
        record = parse_line(raw, at).record
        is_media = record and RecordType.of(record) is RecordType.MEDIA
        return str(record.get("path", "")) if record and is_media else None

"""The lines of a read -> as many of them as one send takes.

A line of a few bytes may name a file of a hundred megabytes, which is read whole, and read again
for the next line: without a bound one send could take a thread for hours, and a stop would wait.
"""

from __future__ import annotations

from typing import Final

from karaoke_train.runlog.record_types import RecordType
from syncd import memory
from syncd.source.lines import Lines
from syncd.source.marked import mark_of, marked
from syncd.source.media_folder import MediaFolder

MOST_MEDIA: Final = 100  # pictures and sounds of one send
MOST_BYTES: Final = 64 << 20  # of theirs; the one that passes it is the send's last
MOST_BESIDE: Final = 2_000  # lines of such a send: what is known of them waits for its files
_MARK: Final = mark_of(RecordType.MEDIA)


def portion(lines: Lines, most: int, media: MediaFolder) -> Lines:
    """The first of the lines: at most `most`, and fewer where files come with them."""
    lines = lines.first(most)
    if not _MARK.search(lines.data):  # nearly all
        return lines
    with memory.for_lines(len(lines.data), len(lines)):
        return lines.first(_most_with_media(lines, media))


def _most_with_media(lines: Lines, media: MediaFolder) -> int:
    count = size = 0
    for line in marked(lines, _MARK):
        before = line.at.ordinal - lines.start.ordinal
        if not line.record or RecordType.of(line.record) is not RecordType.MEDIA:
            continue
        if before >= MOST_BESIDE:
            return MOST_BESIDE if count else before
        count += 1
        size += media.size(str(line.record.get("path", "")))
        if count >= MOST_MEDIA or size >= MOST_BYTES:
            return before + 1
    return MOST_BESIDE if count else len(lines)

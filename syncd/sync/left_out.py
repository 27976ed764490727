"""Lines whose picture or sound can't be uploaded -> lines for quarantine, which says why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from karaoke_train.runlog.reader import HEAD, Line
from karaoke_train.runlog.record_types import RecordType
from syncd.source.media_folder import MediaFolder


def judged(lines: Iterable[Line], media: MediaFolder) -> Iterator[Line]:
    """The lines; one that refers to what can't be uploaded as a bad one. Its row is at the server
    all the same, with words in the place of the file."""
    for line in lines:
        if line.record and RecordType.of(line.record) is RecordType.MEDIA:
            name = str(line.record.get("path", ""))
            if problem := media.problem(name):
                words = f"{name[:HEAD]} was left out: {problem}"
                line = replace(line, record=None, problem=words, head=b"")
        yield line

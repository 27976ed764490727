"""Lines that a server counts and does not have: whether there are any; they are sent again."""

from __future__ import annotations

from typing import Final

from karaoke_train.runlog.reader import Position
from syncd import events
from syncd.destination.base import Destination, Identity, RemoteRun, RunRef, Uploader
from syncd.errors import RunTrouble
from syncd.source import tailer
from syncd.source.attempts import attempt_before
from syncd.sync.content import Content
from syncd.sync.portions import portion

LATE_COUNT: Final = (1.0, 2.0, 4.0)  # seconds between looks: counts were seen 2 to 4 s behind


def agreeing(
    destination: Destination, ref: RunRef, remote: RemoteRun | None
) -> tuple[RemoteRun | None, bool]:
    """The run, once it has no step beyond its count, and whether that stays so: then lines are
    missing, and later ones are in their places, as a line cursor that went back leaves it. Posting
    on from the count would bring as many lines as there should be, some of them twice, and no
    number would tell. Raises UploadError."""
    for wait in LATE_COUNT:
        if not destination.counts or not _has_later(destination, ref, remote):
            return remote, False
        destination.pause(wait)
        remote = destination.remote_run(ref)
    return remote, _has_later(destination, ref, remote)


def _has_later(destination: Destination, ref: RunRef, remote: RemoteRun | None) -> bool:
    """Whether the run has a step beyond its count. Its last step may be an old one, or that of its
    last line though a later one is in the place of an earlier; but whatever was posted in the wrong
    place began where the count was to go on, so that step is among its rows."""
    if remote is None or remote.last_step >= remote.count:
        return remote is not None
    return bool(remote.count and destination.rows(ref, remote.count, remote.count + 1))


def send_again(content: Content, uploader: Uploader, first: int, end: Position) -> None:
    """Everything from line `first` to `end`, in order: a single line in the middle would set the
    server's own line cursor back, and what follows would be put over others. Raises UploadError,
    OSError."""
    there = content.destination.identity
    if not uploader.rewinds:
        content.destination.mend(content.ref)
        raise RunTrouble(
            f"{there.name} does not have record {first:,}, and has later ones",
            meaning="The file has every record",
            by_itself="The run is opened anew, and what is missing is sent again",
        )
    log = content.log
    at = tailer.place_of(log, first, content.start)
    events.sent_again(content.header.run_id, content.path, first, end.ordinal, there.name)
    uploader.rewind(first, attempt_before(log, at, content.start))
    while left := min(tailer.MOST, end.ordinal - at.ordinal):
        lines = portion(tailer.read(log, at).lines, left, content.media)
        if not lines:
            return
        uploader.send(lines)
        uploader.bring()
        at = lines.end


def still_missing(first: int, count: int, there: Identity) -> RunTrouble:
    """A line that was sent again is not there."""
    return RunTrouble(
        f"{there.name} counts {count:,} records, and does not have record {first:,}",
        meaning="It was sent again, and is safe on disk",
        by_itself="It's looked at again by itself",
    )

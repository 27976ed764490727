"""Which lines of a run are a file's. A run id that is used again is one run that goes on: each of
its files is a part, and a part's first line is line `base` of the run.

A later part is appended behind what the server has, once nobody writes there; its first row, which
no other file has, claims the place, and is read back before more is sent. So the base is found
again at the server when state is lost. wandb's own `sync` of two parts appends them likewise.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import Final

from karaoke_train.runlog.format import RunHeader
from syncd.destination.base import Destination, RemoteRun, Uploader
from syncd.destination.rows import PART
from syncd.errors import OthersLack, RunTrouble
from syncd.source.scanner import LogFile, as_new_command
from syncd.sync.content import Content, history_of
from syncd.sync.missing import LATE_COUNT

_OWN_ID: Final = re.compile(r"[a-z2-7]{12}")  # one that `RunLog.create` made itself
# The server's word that nobody writes. `crashed` is what it makes of heartbeats that stopped
_OVER: Final = frozenset({"finished", "failed", "killed", "crashed"})
_FEW: Final = 10_000  # rows that are asked for in pages: to read a history takes seconds to begin
_LOOKS: Final = (0.0, 1.0, 2.0, 4.0, 8.0)  # seconds before each look at what was just sent


def may_have_parts(header: RunHeader) -> bool:
    """Whether another file may have the same run id: not where it was made at random."""
    return not _OWN_ID.fullmatch(header.run_id)


def base_of(content: Content, count: int) -> int | None:
    """The line of the run where the file's first one is; None where the server has none of the
    file. count: of the run's lines there. Raises UploadError, OSError."""
    if not count or content.begins_at(0) is not False:
        return 0
    # All rows are gone through: only a part whose cursor is lost, or that is new, comes here
    there = content.destination
    rows = there.rows(content.ref, 0, count) if count <= _FEW else history_of(content, count)
    return next((int(row["_step"]) for row in rows if content.is_first(row)), None)


def place(
    content: Content, remote: RemoteRun, count: int, stillness: Stillness, settle: float
) -> tuple[int, bool]:
    """The line of the run where the file's first one is, or is to be; and whether it has yet to
    claim that. count: of the run's lines there. settle: see `await_claimed`. Raises RunTrouble
    while somebody else writes there; UploadError, OSError."""
    if not count:
        _await_first_lines(content, settle)
        # Who looks at the same moment sees none either, and the later of two posts is what stays
        return 0, True
    if (base := base_of(content, count)) is not None:
        return base, False
    heartbeat = content.destination.heartbeat(content.ref)
    if left := stillness.left(remote, heartbeat, time.monotonic()):
        raise written_elsewhere(remote, str(content.path), left, content.destination.identity.place)
    return count, True


def _await_first_lines(content: Content, settle: float) -> None:
    """Another machine may have begun the run at this moment. Raises RunTrouble where it has."""
    content.destination.pause(settle)
    remote = content.destination.remote_run(content.ref)
    if remote and remote.count:
        raise RunTrouble(
            "the run's first records have just come there from elsewhere",
            meaning="Whose they are is looked at before anything is sent",
        )


def followed(content: Content, ordinal: int) -> bool:
    """Whether another part of the run begins at this line. Raises UploadError."""
    rows = content.destination.rows(content.ref, ordinal, ordinal + 1)
    return any(row.get(PART, content.header.part) != content.header.part for row in rows)


def await_claimed(content: Content, base: int, settle: float) -> None:
    """See that line `base` of the run is the file's first one, which was sent there. settle:
    seconds in which somebody else's first line may still come to the same place. Raises RunTrouble
    when it has come, or nothing has; UploadError, OSError."""
    for wait in _LOOKS:
        content.destination.pause(wait)
        if (ours := content.begins_at(base)) is not None:
            break
    if ours:
        content.destination.pause(settle)
        ours = content.begins_at(base)
    if ours is False:
        raise RunTrouble(
            f"another part of the run has come to line {base:,}, where this one was to begin",
            meaning="Nothing more of this file was sent there; its records are safe on disk",
            remedy="Nothing to do: it is appended behind the other",
        )
    if ours is None:
        raise RunTrouble(
            f"{content.destination.identity.name} does not show line {base:,} of the run, where "
            "this file begins",
            meaning="Nothing more is sent before it does; the records are safe on disk",
            remedy="Nothing to do: it's looked at again",
        )


def await_counted(uploader: Uploader, destination: Destination, expected: int) -> None:
    """See that the destination counts the run's lines up to the first one of a part, and no more.
    Raises RunTrouble, UploadError."""
    for wait in LATE_COUNT:
        if (count := uploader.confirm()) >= expected:
            break
        destination.pause(wait)
    if count != expected:
        raise RunTrouble(
            f"{destination.identity.name} counts {count:,} records, where {expected:,} were "
            "expected",
            meaning="Somebody else may write to the run; nothing is sent before that is clear",
        )


class Stillness:
    """Whether somebody else writes to a run: by its count and its sign of life at the server, which
    are seen to stand still by our own clock, since two machines' clocks may disagree by hours.

    still_for: seconds that the count has to stand; alive_for: seconds without a sign of life after
    which its writer is taken for gone, where the server says that the run goes on.
    """

    def __init__(self, still_for: float, alive_for: float) -> None:
        self._still_for = still_for
        self._alive_for = alive_for
        self._seen: tuple[int, str] | None = None
        self._since = 0.0

    def left(self, remote: RemoteRun, heartbeat: str, now: float) -> float:
        """Seconds yet to wait."""
        seen = (remote.count, heartbeat)
        if seen != self._seen:
            self._seen, self._since = seen, now
        needed = self._still_for if remote.state in _OVER else self._alive_for
        return max(0.0, self._since + needed - now)


def written_elsewhere(remote: RemoteRun, path: str, left: float, place: str) -> RunTrouble:
    """The run goes on in another file, or did so until a moment ago. place: as the destination has
    it."""
    trouble = RunTrouble(
        f"the run has {remote.count:,} records of another file {place}, which may still be written",
        meaning="This file's records are safe on disk, and follow once nothing more comes there",
        remedy="Nothing to do; if both trainings go on, give this one a run of its own: "
        + as_new_command(path),
    )
    trouble.retry_after = left
    return trouble


def others_lack(run_id: str, there: str) -> OthersLack:
    """The run has a line beyond its count, and what is missing before it is none of this file's."""
    return OthersLack(
        f"{there} has a line of the run beyond those that it counts: another file's may be missing",
        meaning="This file's records are safe on disk, and follow once those are there again",
        remedy="Nothing to do where the run's other files are in the log folders; else, where they "
        f"are: karaoke-syncd verify --repair {run_id}",
    )


def waits_for(earlier: LogFile) -> RunTrouble:
    """A part whose turn hasn't come."""
    return RunTrouble(
        f"the run began in {earlier.path.name}, which is not all uploaded yet",
        meaning="This file's records are safe on disk, and follow once that one has ended",
        remedy=f"If it should not: karaoke-syncd forget {earlier.key} leaves that one out",
    )


def earlier_parts(files: Iterable[LogFile]) -> Mapping[str, tuple[LogFile, ...]]:
    """Key -> the parts of the same run that began before it; those of runs in parts alone."""
    by_run: dict[tuple[str, str], list[LogFile]] = {}
    for file in files:
        by_run.setdefault((file.run_id, file.header.project), []).append(file)
    found: dict[str, tuple[LogFile, ...]] = {}
    for parts in by_run.values():
        parts.sort(key=lambda file: (file.began, file.key))
        for index, file in enumerate(parts[1:], 1):
            found[file.key] = tuple(parts[:index])
    return found

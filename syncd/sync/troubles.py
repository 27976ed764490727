"""What keeps one run from being uploaded -> the error that says so, with what it means and what to
do. What parts of a run wait for is said in `parts`; pure."""

from __future__ import annotations

from pathlib import Path

from syncd.destination.base import Identity
from syncd.errors import (
    Contradiction,
    ProblemCode,
    RemoteHasMore,
    RemoteLostRecords,
    RunRefused,
    RunTrouble,
    UploadError,
)
from syncd.source.fingerprint import FileChanged
from syncd.source.scanner import as_new_command


def changed(found: FileChanged, path: Path, key: str) -> RunRefused:
    """The file isn't the one that was uploaded from."""
    # No way out is taken by itself: the file may have been truncated by mistake, and the server
    # then has the only copy of what is gone
    return RunRefused(
        found.code,
        str(found),
        where=path.name,
        meaning="What is uploaded stays as it is; nothing of this file is sent over it",
        remedy=f"Put the file back as it was and `karaoke-syncd retry {key}`, or upload it as a "
        f"run of its own: {as_new_command(path)}",
    )


def way_out(error: UploadError, path: Path, key: str) -> str:
    """What to do about a run that the server refuses or contradicts itself about; empty where that
    isn't known."""
    match error:
        case Contradiction():
            return (
                "Nothing to do at first: it's looked at again, and lines that are missing are sent "
                "again. If this stays, somebody else wrote to the run: upload the file as a run of "
                f"its own: {as_new_command(path)}"
            )
        case RunRefused(code=ProblemCode.DELETED):
            return (
                f"Leave it: karaoke-syncd forget {key}. "
                f"Or upload the file as a run of its own: {as_new_command(path)}"
            )
        case RunRefused(code=ProblemCode.REFUSED):
            return (
                "Correct what it names (the project: `project` in config.toml, or --project), then "
                f"karaoke-syncd retry {key}"
            )
        case RunRefused(code=ProblemCode.NOT_COUNTED):
            return (
                'If this server never counts, confirm = "answer" in config.toml takes its answers '
                f"for it. To send again what is not counted: karaoke-syncd retry {key}"
            )
        case _:
            return ""


def remote_has_more(count: int, known: int, path: Path, key: str, there: Identity) -> RemoteHasMore:
    """The destination holds `count` records, the file `known` of them."""
    return RemoteHasMore(
        ProblemCode.MORE_AT_SERVER,
        f"{there.name} holds {count:,} records of this run, the file {known:,}",
        where=path.name,
        meaning="Somebody else wrote to the run, or the file lost its end; "
        "nothing is sent over what is there",
        remedy=f"Upload the file as a run of its own: {as_new_command(path)}. "
        f"Or leave it: karaoke-syncd forget {key}",
    )


def remote_counts_fewer(count: int, confirmed: int, path: Path, there: Identity) -> RunTrouble:
    """The destination holds `count` records, and had confirmed more: for now."""
    return RunTrouble(
        _fewer(count, confirmed, there),
        where=path.name,
        meaning="It may be catching up",
        by_itself="It's asked again by itself",
    )


def remote_lost_records(
    count: int, confirmed: int, path: Path, key: str, there: Identity
) -> RemoteLostRecords:
    """The destination holds `count` records, and had confirmed more: it goes on saying so."""
    return RemoteLostRecords(
        ProblemCode.LOST_AT_SERVER,
        _fewer(count, confirmed, there),
        where=path.name,
        meaning="The run was deleted or lost data there; the file still has every record",
        remedy=f"To send the missing ones again: karaoke-syncd retry {key}. "
        f"To leave it so: karaoke-syncd forget {key}",
    )


def _fewer(count: int, confirmed: int, there: Identity) -> str:
    return f"{there.name} holds {count:,} records; it had confirmed {confirmed:,}"


def unreadable(error: OSError, path: Path, there: Identity) -> RunTrouble:
    """The file can't be read at this moment."""
    return RunTrouble(
        f"the file can't be read: {error.strerror}",
        where=path.name,
        meaning=f"What was confirmed is {there.place}",
        by_itself="The rest goes on once it's readable",
    )


def account_changed(now: str, before: str) -> RunTrouble:
    """Runs go to the account `now`, and this one's session was opened with the one `before`."""
    return RunTrouble(
        f"runs go to {now} now; this one's records went to {before}",
        meaning="What is there stays there; nothing more of the run is sent to it",
        remedy=f"Nothing to do: the run is uploaded to {now} from its beginning",
    )

"""What can go wrong, in four parts for people, and classed by who has to wait; exit codes."""

from __future__ import annotations

import errno
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Final

from karaoke_train.runlog.plain_text import one_line


class Exit(IntEnum):
    """Exit codes of karaoke-syncd. New ones may be added; these stay. What each means for a command
    stands with the command, in syncd/cli."""

    OK = 0  # everything is uploaded or being uploaded
    FAILED = 1  # something unexpected; the message says what
    USAGE = 2  # the command line or the settings are wrong
    NOT_RUNNING = 3  # records wait and no daemon is running
    OFFLINE = 4  # records wait for the server to be reachable; tried again without you
    LOGIN = 5  # nobody is logged in, or the server refuses the account
    DECISION = 6  # a run waits for a decision of yours; `status` names it
    BUSY = 7  # another daemon holds this state folder
    DIFFERENT = 8  # `verify` found the server's records different from the file's
    WARNINGS = 9  # `doctor` found nothing worse than warnings
    ERRORS = 10  # `doctor` found what keeps records from arriving
    SILENT = 11  # a daemon runs and has not reported for a while: hung, or it can't write its state
    ELSEWHERE = 12  # records wait, and the daemon uploads to another server or account
    TROUBLE = 13  # a run or folder is in trouble of its own; `status` names it, with what to do
    INTERRUPTED = 130


class Connection(StrEnum):
    """Whether a destination can be reached, in a word. The words are part of `status --json`."""

    ONLINE = "online"
    OFFLINE = "offline"
    CAPTIVE = "captive"  # something answers that is no W&B server, as a hotel's login page does
    TROUBLE = "trouble"  # the server answers, and can't do its work
    NOT_LOGGED_IN = "not_logged_in"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class ProblemCode(StrEnum):
    """What keeps a file or run from being uploaded. The words are part of `status --json`."""

    TROUBLE = "trouble"  # tried again by itself; all others are the user's to decide about
    TRUNCATED = "truncated"
    REPLACED = "replaced"
    REWRITTEN = "rewritten"
    DIFFERENT = "different"  # the server has other records than the file
    LOST_AT_SERVER = "lost_at_server"
    MORE_AT_SERVER = "more_at_server"
    DELETED = "deleted"
    NOT_COUNTED = "not_counted"  # the server takes lines, and does not count them
    REFUSED = "refused"  # the server does not take the run: its project's name, say
    COPY = "copy"
    UNREADABLE = "unreadable"
    UNSAFE = "unsafe"  # no regular file of the user's own: a link, a FIFO, somebody else's
    MISSING = "missing"


_WRITABLE: Final = {
    errno.EACCES: "Make it writable for this user, or name another place",
    errno.EPERM: "Make it writable for this user, or name another place",
    errno.EROFS: "Name a place that can be written",
    errno.ENOENT: "Make its folder first, or name another place",
    errno.ENOSPC: "Make room on its disk, and give the same command again",
    errno.EDQUOT: "Make room on its disk, and give the same command again",
}


class SyncError(Exception):
    """What happened, to which file or run, what it means for the data, what to do next.

    The parts may quote a server, a library or a stranger's file: secrets are cut out of them here,
    and what a terminal would obey, since they are shown, logged and kept in the state folder.
    """

    def __init__(self, what: str, *, where: str = "", meaning: str = "", remedy: str = "") -> None:
        self.what = one_line(what)
        self.where = one_line(where)
        self.meaning = one_line(meaning)
        self.remedy = one_line(remedy)
        super().__init__(self.what)

    @property
    def head(self) -> str:
        """What happened, and to what."""
        return f"{self.where}: {self.what}" if self.where else self.what

    def __str__(self) -> str:
        return _joined(self.head, self.meaning, self.remedy)


def _joined(*parts: str) -> str:
    return one_line(" ".join(f"{part.rstrip('.')}." for part in parts if part))


def unread(error: OSError) -> SyncError:
    """A file that was here a moment ago, or is, and can't be read."""
    if isinstance(error, FileNotFoundError):
        return SyncError("it is gone: somebody has moved or deleted it meanwhile")
    return unreadable(error)


def unreadable(error: OSError, where: Path | str = "") -> SyncError:
    """A file that can't be read, and what can be done where the system's words don't tell."""
    remedy = "Make it readable for this user" if isinstance(error, PermissionError) else ""
    return SyncError(f"can't be read: {error.strerror or error}", where=str(where), remedy=remedy)


def unwritable(error: OSError, where: Path | str) -> SyncError:
    """The same of one that can't be written."""
    remedy = _WRITABLE.get(error.errno or 0, "")
    return SyncError(
        f"can't be written: {error.strerror or error}", where=str(where), remedy=remedy
    )


class UsageError(SyncError):
    """The command line or the settings ask for something that can't be."""


class UploadError(SyncError):
    """An upload failed. Which class says who waits; retry_after: for how many seconds, where the
    cause says so (0: the backoff decides). by_itself: the remedy, where that is the daemon's."""

    retry_after = 0.0

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        meaning: str = "",
        remedy: str = "",
        by_itself: str = "",
    ) -> None:
        super().__init__(what, where=where, meaning=meaning, remedy=remedy or by_itself)
        self._is_the_daemons = bool(by_itself and not remedy)

    @property
    def by_hand(self) -> str:
        """The remedy, where it is a person's."""
        return "" if self._is_the_daemons else self.remedy

    def without_daemon(self, remedy: str) -> str:
        """The same words, where nobody does anything by itself, and this has to be done."""
        return _joined(self.head, self.meaning, remedy if self._is_the_daemons else self.remedy)


class Unreachable(UploadError):
    """Everybody waits: the server can't be reached or is in trouble. Tried again by itself.

    kind: offline, captive or trouble. retry_after: seconds that the server asked for. remedy: what
    a person can do about it, where that is known.
    """

    def __init__(
        self,
        what: str,
        *,
        kind: Connection = Connection.OFFLINE,
        retry_after: float = 0.0,
        remedy: str = "",
    ) -> None:
        super().__init__(
            what,
            meaning="The records are safe on disk",
            remedy=remedy,
            by_itself="Nothing to do: they are sent as soon as that has passed",
        )
        self.kind = kind
        self.retry_after = retry_after


class Refused(UploadError):
    """The user has to act: nobody is logged in, or the account may not write there.

    kind: not_logged_in or refused.
    """

    def __init__(self, what: str, *, kind: Connection, remedy: str) -> None:
        super().__init__(what, meaning="The records are safe on disk", remedy=remedy)
        self.kind = kind


class RunTrouble(UploadError):
    """This run alone waits, and is tried again by itself."""


class Leased(RunTrouble):
    """Another daemon uploads this run; looked at again in case that one dies."""


class Contradiction(RunTrouble):
    """The server's answers about a run do not agree. Right after a session it catches up; where it
    stays so, lines are missing in the run, or somebody else's are in it."""


class OthersLack(RunTrouble):
    """Lines of another part of the run may be missing, which its file has: that one is looked at
    first."""


class RunRefused(UploadError):
    """This run alone waits, for a decision: `retry` or `forget`, or `sync --as_new`."""

    def __init__(
        self, code: ProblemCode, what: str, *, where: str = "", meaning: str = "", remedy: str = ""
    ) -> None:
        super().__init__(what, where=where, meaning=meaning, remedy=remedy)
        self.code = code


class RemoteLostRecords(RunRefused):
    """The server holds less than it had confirmed. Nothing is sent again before somebody says so;
    a server that was only late is found out by looking again now and then."""


class NotCounted(RunRefused):
    """The server answered what it was sent, and counts none of it. Nothing is sent a second time;
    its count alone is looked at again now and then."""


class RemoteHasMore(RunRefused):
    """The server holds more records of the run than the file has."""

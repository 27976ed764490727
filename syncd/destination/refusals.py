"""What a server does not take or does not count, in words: the same in both lanes. What to do about
the run is said in `syncd.sync.troubles`, where its file is known."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, Protocol
from urllib.parse import quote

from syncd.destination.base import Row, RunRef
from syncd.errors import Contradiction, NotCounted, ProblemCode, RunRefused, RunTrouble


def run_deleted() -> RunRefused:
    """Somebody deleted the run on its page."""
    return RunRefused(
        ProblemCode.DELETED,
        "the run was deleted at the server, which does not take its name again",
        meaning="The file still has every record",
    )


_DELETED: Final = re.compile(r"(?i)(?<![\w-])deleted(?![\w-])")
# Where a name stands that could be a word of the server's own: a run may be called `deleted`
_BEFORE_NAME: Final = r"(?:(?<=[\"'`/])|(?<=\brun )|(?<=\bproject )|(?<=\bentity ))"
# What servers say when their database or a part of them is in trouble, or two requests crossed
_PASSING: Final = re.compile(
    r"(?i)internal|timed?[ -]?out|deadline|unavailable|temporar|again later|try again|overload"
    r"|too many|deadlock|lock wait|connection|conflict|busy"
)


def without_names(words: str, *names: str) -> str:
    """What a server says, without the names that people gave: these say nothing about the trouble.

    One of letters alone may be a word of the server's own, too. It is a name beside a quote or a
    slash, and behind what it is the name of."""
    for name in sorted(filter(None, names), key=len, reverse=True):
        for spelled in {name, quote(name, safe="")}:
            own = re.escape(spelled)
            if re.search(r"[\d_.%-]", spelled):
                pattern = rf"(?<![\w-]){own}(?![\w-])"
            else:
                pattern = rf"{_BEFORE_NAME}{own}(?![\w-])|(?<![\w-]){own}(?=[\"'`/])"
            words = re.sub(pattern, "", words, flags=re.IGNORECASE)
    return words


def says_deleted(words: str, ref: RunRef) -> bool:
    """Whether a server says that somebody deleted the run."""
    return bool(_DELETED.search(without_names(words, *ref)))


def not_taken(words: str, ref: RunRef, status: int = 0) -> RunTrouble | RunRefused:
    """The server does not make the run, or does not take its config. status: HTTP's, where it is
    known; of a conflict wandb itself asks again."""
    if status != HTTPStatus.CONFLICT and not _PASSING.search(without_names(words, *ref)):
        return run_refused(words)
    return not_now(words)


def not_now(words: str) -> RunTrouble:
    """The run is not taken this time, by the server or by what is between it and us."""
    return RunTrouble(
        f"the server does not take the run just now ({words})",
        meaning="The records are safe on disk",
        by_itself="It's tried again by itself",
    )


def run_refused(words: str) -> RunRefused:
    """The server would say the same each time: the project's name can't be, say."""
    return RunRefused(
        ProblemCode.REFUSED,
        f"the server does not take the run ({words})",
        meaning="Its records are safe on disk, and are not sent before you say so",
    )


def not_counted(first: int, sent: int) -> NotCounted:
    """The server answered for the lines from `first` to `sent`, and counts none of them."""
    return NotCounted(
        ProblemCode.NOT_COUNTED,
        f"the server took {sent - first:,} records, and counts none of them",
        meaning="Whether they are kept can't be told from here, so nothing is sent a second time; "
        "the file has every record. A daemon looks at its count again now and then",
    )


class _History(Protocol):
    def rows(self, ref: RunRef, start: int, stop: int, /) -> Sequence[Row]: ...

    def steps(self, ref: RunRef, /) -> int | None: ...


def took_a_place(server: _History, ref: RunRef, count: int) -> bool:
    """Whether line `count` is in the place of an earlier one: the server has it, and no more rows
    than it counts. One that does not count has more. Raises Unreachable or Refused."""
    if not count or not server.rows(ref, count, count + 1):
        return False
    steps = server.steps(ref)
    return steps is not None and steps <= count


def out_of_place(count: int) -> Contradiction:
    """Line `count` `took_a_place`. The run's next opening finds which lines that cost."""
    return contradiction(f"counts {count} as before, and has line {count}")


def stands_still(first: int, sent: int) -> RunTrouble:
    """Lines were sent, and do not arrive. One run's trouble: the server answers otherwise. One
    that is out of quota, or whose queue is stuck for one run, looks like this."""
    return RunTrouble(
        f"the server's count stands still at {first:,} while {sent - first:,} records wait",
        meaning="They are safe on disk",
        by_itself="The session is opened anew and goes on from the server's count",
    )


def contradiction(what: str) -> Contradiction:
    """The server's answers about a run do not agree. what: after "the server"."""
    return Contradiction(
        f"the server {what}",
        meaning="It may be catching up; nothing is sent until its answers agree",
    )

"""The daemon's runs, looked at now and then -> what is worth telling a person, each once; pure.

By the files and their writers' locks, not by the server's word: a run that crashes during an outage
is told at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final


class EventKind(StrEnum):
    """What has happened. The words are part of what a command is given."""

    RUN_ENDED = "run_ended"  # finished, failed or interrupted, as its file says
    RUN_CRASHED = "run_crashed"  # its writer is gone, without an end
    RUN_SILENT = "run_silent"  # its writer lives, and has written nothing for long
    UPLOAD_BLOCKED = "upload_blocked"  # it waits for a person


LIVE: Final = "live"
CRASHED: Final = "crashed"


@dataclass(frozen=True, slots=True)
class Look:
    """A run as it is now. state: live, crashed, or the status of its end. blocked: what keeps it
    from being uploaded until somebody decides; empty for nothing."""

    size: int
    state: str
    blocked: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A run as it was when it was last looked at. grown_at: when it last grew, as far as this
    process saw; silent: that it is silent was told."""

    look: Look
    grown_at: float
    silent: bool = False


def first_look(look: Look, now: float) -> Seen:
    """A run that nobody waits to hear of: it was there before."""
    return Seen(look, now)


def began(now: float) -> Seen:
    """A run that was not there before."""
    return Seen(Look(0, LIVE), now)


def news(
    before: Seen, look: Look, now: float, silent_after: float
) -> tuple[Seen, tuple[EventKind, ...]]:
    """The run as it is seen now, and what has happened since. silent_after: seconds."""
    kinds: list[EventKind] = []
    grown = look.size != before.look.size
    seen = Seen(look, now, silent=False) if grown else replace(before, look=look)
    settled_anew = look.state != LIVE and (grown or look.state != before.look.state)
    if settled_anew:
        kinds.append(EventKind.RUN_CRASHED if look.state == CRASHED else EventKind.RUN_ENDED)
    elif look.state == LIVE and not seen.silent and now - seen.grown_at > silent_after:
        kinds.append(EventKind.RUN_SILENT)
        seen = replace(seen, silent=True)
    if look.blocked and look.blocked != before.look.blocked:
        kinds.append(EventKind.UPLOAD_BLOCKED)
    return seen, tuple(kinds)


def words_of(kind: EventKind, name: str, look: Look, quiet_for: float) -> str:
    """A sentence for people."""
    if kind is EventKind.RUN_SILENT:
        return f"{name} has written nothing for {quiet_for / 60:.0f} minutes; its process lives"
    if kind is EventKind.RUN_CRASHED:
        return f"{name} has crashed: its process is gone, and the run has no end"
    if kind is EventKind.UPLOAD_BLOCKED:
        return f"{name} waits for you: {look.blocked}"
    return f"{name} has ended: {look.state}"


def to_json(seen: Mapping[str, Seen]) -> dict[str, list[object]]:
    """What a later process has to know, by run."""
    return {
        run_id: [one.look.size, one.look.state, one.look.blocked] for run_id, one in seen.items()
    }


def from_json(data: Any, now: float) -> dict[str, Seen]:
    """What an earlier process saw. Raises AttributeError, TypeError or ValueError for what is
    damaged."""
    looks = {str(key): Look(int(s), str(t), str(b)) for key, (s, t, b) in data.items()}
    return {run_id: Seen(look, now) for run_id, look in looks.items()}

"""When the destination last answered, and why not since, for `status` where no daemon runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from syncd.state import atomic_json

NAME: Final = "reached.json"


class Tries(NamedTuple):
    """ago: seconds since it answered; None where that isn't known. failed_ago: seconds since the
    last try, where that failed, and None else; why: what kept it from answering, or us out."""

    ago: float | None = None
    failed_ago: float | None = None
    why: str = ""


_NONE: Final = Tries()


def save(destination: Path) -> None:
    """It answered now. Raises OSError."""
    atomic_json.write(destination / NAME, {"at": _now()}, sync=False)


def save_failed(destination: Path, why: str) -> None:
    """It did not, or let nobody in. Raises OSError."""
    before = atomic_json.load(destination / NAME, lambda data: data.get("at"))
    answered = {"at": before} if before else {}
    failed = {"failed_at": _now(), "why": why}
    atomic_json.write(destination / NAME, {**answered, **failed}, sync=False)


def load(destination: Path, now: datetime) -> Tries:
    """How the last tries went."""

    def ago(moment: str | None) -> float | None:
        if moment is None:
            return None
        return max(0.0, (now - datetime.fromisoformat(moment)).total_seconds())

    def decode(data: Any) -> Tries:
        if not {"at", "failed_at"} & data.keys():
            raise KeyError("at")
        return Tries(ago(data.get("at")), ago(data.get("failed_at")), str(data.get("why", "")))

    return atomic_json.load(destination / NAME, decode) or _NONE


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

"""When the destination last answered, for `status` where no daemon runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from syncd.state import atomic_json

NAME = "reached.json"


def save(destination: Path) -> None:
    """It answered now. Raises OSError."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    atomic_json.write(destination / NAME, {"at": now}, sync=False)


def seconds_ago(destination: Path, now: datetime) -> float | None:
    """How long ago it answered; None where that isn't known."""

    def decode(data: Any) -> float:
        return max(0.0, (now - datetime.fromisoformat(data["at"])).total_seconds())

    return atomic_json.load(destination / NAME, decode)

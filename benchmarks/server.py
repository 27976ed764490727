"""The W&B stand-in that the uploads are measured against: in a process of its own, which isn't
counted, with counts that are 2.5 s late and the rate limits that W&B documents
(tests/fakes/wandb_world.py, World.DEFAULT)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from tests.fakes.wandb_process import WandbProcess
from tests.fakes.wandb_world import World

HISTORY: Final = "wandb-history.jsonl"
TOO_MANY: Final = 429


class Server(WandbProcess):
    """One stand-in, with what benchmarks want to know of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, world=World.DEFAULT)

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """Variables for a client that keeps its state in `home` and nothing anywhere else."""
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("WANDB_", "KARAOKE_"))
        }
        return {
            **inherited,
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": self.key,
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CONFIG_HOME": str(home / "config"),
            **more,
        }

    def arrivals(self) -> dict[str, list[float]]:
        """Run id -> when each history line came for the first time, in seconds since the epoch.

        Raises ValueError where a line is missing.
        """
        return {
            journal.parent.name: _first_times(journal)
            for journal in self.state_dir.glob("runs/*/*/*/journal.jsonl")
        }

    def check(self, runs: int, lines: int) -> None:
        """Raises ValueError unless it has so many runs, each with at least so many lines."""
        counts = sorted(map(len, self.arrivals().values()))
        if len(counts) != runs or counts[0] < lines:
            raise ValueError(f"the server has runs of {counts} lines, not {runs} of {lines}")

    def refusals(self) -> int:
        """How many requests broke a rate limit."""
        return sum(request["status"] == TOO_MANY for request in self.requests())


def _first_times(journal: Path) -> list[float]:
    times: dict[int, float] = {}
    with journal.open("rb") as entries:
        for entry in map(json.loads, entries):
            if entry["op"] == "lines" and entry["file"] == HISTORY:
                for place in range(entry["offset"], entry["offset"] + len(entry["content"])):
                    times.setdefault(place, entry["at"])
    if len(times) != max(times, default=-1) + 1:
        raise ValueError(f"lines are missing in {journal}")
    return [times[place] for place in sorted(times)]

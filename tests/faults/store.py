"""The local dashboard's store, read from its files by none of the product's ways to it."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from syncd.destination.trackio.uploader import as_row

_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}  # as trackio keeps them


def run_in(store: Path, run_id: str, project: str = "songs") -> dict[str, Any]:
    """The run, in the words of the W&B stand-in's `run`. Raises KeyError when nothing of it is
    there."""
    path = store / f"{project}.db"
    rows: list[dict[str, Any]] = []
    state = "running"
    if path.exists():
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            columns = [name for _, name, *_ in database.execute("PRAGMA table_info(metrics)")]
            if "log_id" not in columns:  # trackio adds it in a second step: it is being made
                raise KeyError(run_id)
            found = database.execute(
                "SELECT log_id, timestamp, metrics FROM metrics WHERE run_id = ?", (run_id,)
            )
            rows = [
                as_row(int(log_id.rpartition(":")[2]), timestamp, _numbers(json.loads(metrics)))
                for log_id, timestamp, metrics in found
            ]
            asked = "SELECT value FROM project_metadata WHERE key = ?"
            kept = database.execute(asked, (f"karaoke-syncd/{run_id}/state",)).fetchone()
            state = kept[0] if kept else state
    if not rows:
        raise KeyError(run_id)
    rows.sort(key=lambda row: row["_step"])
    places = [row["_step"] for row in rows]
    return {
        "history": rows,
        "state": state,
        "errors": [],
        "overwrites": [place for place in set(places) if places.count(place) > 1],
        "gaps": sorted(set(range(len(rows))) - set(places)),
    }


def _numbers(metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _NUMBERS.get(value, value) if isinstance(value, str) else value
        for key, value in metrics.items()
    }

"""The local dashboard's store, read and changed by none of the product's ways to it."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from syncd.destination.rows import PART
from syncd.destination.trackio.names import media_folder
from syncd.destination.trackio.uploader import ROW, as_row
from tests.patience import patience

_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}  # as trackio keeps them


@contextmanager
def changing(store: Path, project: str = "songs") -> Iterator[sqlite3.Connection]:
    """The project's database, for somebody else to change."""
    path = store / f"{project}.db"
    with closing(sqlite3.connect(path, timeout=patience(30))) as database, database:
        yield database


def lose(store: Path, run_id: str, *lines: int) -> None:
    """These lines of the run are gone."""
    with changing(store) as database:
        gone = [(f"{run_id}:{line}",) for line in lines]
        database.executemany("DELETE FROM metrics WHERE log_id = ?", gone)


def change(store: Path, run_id: str, line: int, how: Callable[[dict[str, Any]], object]) -> None:
    """What the store has of the line is another thing."""
    with changing(store) as database:
        name = (f"{run_id}:{line}",)
        asked = "SELECT metrics FROM metrics WHERE log_id = ?"
        metrics = json.loads(database.execute(asked, name).fetchone()[0])
        how(metrics)
        changed = (json.dumps(metrics), *name)
        database.execute("UPDATE metrics SET metrics = ? WHERE log_id = ?", changed)


def add(store: Path, run_id: str, line: int) -> None:
    """Somebody else has written a line of the run."""
    with changing(store) as database:
        database.execute(
            "INSERT INTO metrics (timestamp, run_id, run_name, step, metrics, log_id) "
            "VALUES ('2024-01-15T14:30:22+00:00', ?, 'x', 1, '{\"loss\": 1}', ?)",
            (run_id, f"{run_id}:{line}"),
        )


def give_away(store: Path, run_id: str) -> None:
    """The run's first row is that of another file."""
    change(store, run_id, 0, lambda row: row[ROW].update({PART: "another"}))


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


def lose_files(store: Path, run_id: str) -> None:
    """The run's pictures and sounds are gone."""
    for path in (store / "media" / "songs" / media_folder(run_id)).rglob("*.*"):
        path.unlink()

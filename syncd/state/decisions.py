"""What people decided about runs: retry now, forget, be a run of its own.

Files in the state folder, so that it makes no difference whether a daemon runs."""

from __future__ import annotations

from collections.abc import Set
from contextlib import suppress
from pathlib import Path
from typing import Any

from karaoke_train.runlog.format import RUN_ID
from syncd.state import atomic_json, cursor, failures


def forget(destination: Path, run_id: str) -> None:
    """Leave the run alone for good: nothing more of it is uploaded, nothing more is said of it.
    Raises OSError, and then nothing was decided."""
    atomic_json.write(destination / "forgotten" / f"{run_id}.json", {"run_id": run_id})
    failures.clear(destination, run_id)


def forgotten(destination: Path) -> Set[str]:
    """The runs to leave alone."""
    return atomic_json.stems(destination / "forgotten") or set()


def retry(destination: Path, run_id: str) -> None:
    """Take the run as it is now: the cursor goes, the server's count decides, a daemon tries at
    once. A forgotten run is remembered again. Raises OSError, and then nothing was decided."""
    # Written first, for a full disk, and named so that a daemon sees it last: one that looked in
    # between would go by the old cursor
    order = destination / "retry" / f"{run_id}.json"
    draft = order.with_suffix(".new")
    atomic_json.write(draft, {"run_id": run_id})
    (destination / "forgotten" / f"{run_id}.json").unlink(missing_ok=True)
    cursor.remove(destination / "cursors", run_id)
    failures.clear(destination, run_id)
    draft.replace(order)


def try_at_once(destination: Path, run_id: str) -> None:
    """Have a daemon that was done with the run look at it again, by its cursor. Raises OSError."""
    atomic_json.write(destination / "retry" / f"{run_id}.json", {"run_id": run_id})


def pop_retries(destination: Path) -> list[str]:
    """The runs to retry now; each is returned once. In a folder that takes no changes, none."""
    taken = []
    for run_id in atomic_json.stems(destination / "retry") or ():
        with suppress(OSError):
            (destination / "retry" / f"{run_id}.json").unlink()
            taken.append(run_id)
    return taken


def assign_run_id(destination: Path, key: str, run_id: str) -> str:
    """Upload the file with this alias key as a run of its own. Returns the run's id, the same one
    when asked again."""
    path = destination / "aliases" / f"{key}.json"
    if known := atomic_json.load(path, _run_id):
        return known
    new = f"{run_id[:48]}-{key[:8]}"
    atomic_json.write(path, {"run_id": new})
    return new


def aliases(destination: Path) -> dict[str, str]:
    """alias key -> run_id of the files that were made runs of their own."""
    folder = destination / "aliases"
    keys = atomic_json.stems(folder) or set()
    found = {key: atomic_json.load(folder / f"{key}.json", _run_id) for key in keys}
    return {key: run_id for key, run_id in found.items() if run_id}


def _run_id(data: Any) -> str:
    if not RUN_ID.fullmatch(data["run_id"]):
        raise ValueError("no run's id")
    return str(data["run_id"])

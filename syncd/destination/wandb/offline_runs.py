"""wandb's own `offline-run-*` folders -> `wandb sync`, one by one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path


def offline_runs(folders: Iterable[Path], env: Mapping[str, str] = os.environ) -> list[Path]:
    """The offline runs not yet synced, in the folders' `wandb/` and in wandb's own places."""
    places = [*folders, Path(env.get("WANDB_DIR") or ".")]
    found = {
        run.resolve()
        for place in places
        for pattern in ("offline-run-*", "wandb/offline-run-*", ".wandb/offline-run-*")
        for run in place.glob(pattern)
        if run.is_dir() and not any(run.glob("*.synced"))
    }
    return sorted(found)


def sync(runs: Iterable[Path], *, project: str, entity: str) -> Iterator[tuple[Path, str]]:
    """Hand each to `wandb sync`; yields it with wandb's words of failure, empty when it's done."""
    for run in runs:
        command = [sys.executable, "-m", "wandb", "sync", str(run)]
        command += ["--project", project] if project else []
        command += ["--entity", entity] if entity else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        words = (done.stderr or done.stdout).strip().splitlines()
        synced = done.returncode == 0 and any(run.glob("*.synced"))
        yield run, "" if synced else (words[-1] if words else f"exit code {done.returncode}")

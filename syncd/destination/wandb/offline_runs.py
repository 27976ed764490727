"""wandb's own `offline-run-*` folders -> `wandb sync`, one by one.

It uploads the files that a run names, and looks for a key itself: it is given ours, as it would
wait for a FIFO in the place of netrc, or for somebody at a terminal to type one.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from karaoke_train.runlog.regular_file import user_name
from syncd.destination.wandb.credentials import Login


def offline_runs(folders: Iterable[Path], env: Mapping[str, str] = os.environ) -> list[Path]:
    """The offline runs not yet synced, in the folders' `wandb/` and in wandb's own places."""
    places = [*folders, Path(env.get("WANDB_DIR") or ".")]
    found = {
        place.resolve() / run.relative_to(place)
        for place in places
        for pattern in ("offline-run-*", "wandb/offline-run-*", ".wandb/offline-run-*")
        for run in place.glob(pattern)
        if run.is_dir() and not any(run.glob("*.synced"))
    }
    return sorted(found)


def sync(
    runs: Iterable[Path], login: Login, *, project: str, entity: str
) -> Iterator[tuple[Path, str]]:
    """Hand each to `wandb sync`; yields it with wandb's words of failure, empty when it's done."""
    environment = {**os.environ, "WANDB_BASE_URL": login.base_url, "NETRC": os.devnull}
    environment |= {"WANDB_API_KEY": login.key} if login.key else {}
    for run in runs:
        if why := _not_ours(run):
            yield run, why
            continue
        command = [sys.executable, "-m", "wandb", "sync", str(run)]
        command += ["--project", project] if project else []
        command += ["--entity", entity] if entity else []
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            check=False,
        )
        words = (done.stderr or done.stdout).strip().splitlines()
        synced = done.returncode == 0 and any(run.glob("*.synced"))
        yield run, "" if synced else (words[-1] if words else f"exit code {done.returncode}")


def _not_ours(run: Path) -> str:
    """Why a run may be somebody else's, who could have it name any file of the user's; empty if it
    is the user's own, or root's, who needs no such trick."""
    found = run.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return "it is a symbolic link, which is not followed"
    own = found.st_uid in (os.geteuid(), 0)
    return "" if own else f"it belongs to {user_name(found.st_uid)}, and was not handed over"

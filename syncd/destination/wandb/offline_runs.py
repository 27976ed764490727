"""wandb's own `offline-run-*` folders -> `wandb sync`, one by one.

It uploads the files that a run names, and looks for a key itself: it is given ours, as it would
wait for a FIFO in the place of netrc, or for somebody at a terminal to type one.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from karaoke_train.runlog.regular_file import check_not_waited_for, user_name
from syncd.destination.wandb.credentials import Login

_QUIET: Final = 120.0  # seconds; while a run goes on, wandb writes system metrics each 15
_HAS_ENDED: Final = b"stream: finishing up"  # in wandb's log of a run


def offline_runs(folders: Iterable[Path], env: Mapping[str, str] = os.environ) -> list[Path]:
    """The offline runs not yet synced, in the folders' `wandb/` and in wandb's own places."""
    return runs_in([*folders, Path(env.get("WANDB_DIR") or ".")])


def runs_in(folders: Iterable[Path]) -> list[Path]:
    """The offline runs not yet synced, in the folders and their `wandb/`; a folder may be one."""
    folders = list(folders)
    own = {place for place in folders if place.name.startswith("offline-run-")}
    found = {place.parent.resolve() / place.name for place in own}
    found |= {
        place.resolve() / run.relative_to(place)
        for place in folders
        for pattern in ("offline-run-*", "wandb/offline-run-*", ".wandb/offline-run-*")
        for run in place.glob(pattern)
    }
    return sorted(run for run in found if run.is_dir() and not any(run.glob("*.synced")))


def sync(
    runs: Iterable[Path], login: Login, *, project: str, entity: str
) -> Iterator[tuple[Path, str]]:
    """Hand each to `wandb sync`; yields it with wandb's words of failure, empty when it's done."""
    environment = {**os.environ, "WANDB_BASE_URL": login.base_url, "NETRC": os.devnull}
    environment |= {"WANDB_API_KEY": login.key} if login.key else {}
    for run in runs:
        if why := _not_ours(run) or _goes_on(run):
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


def _goes_on(run: Path) -> str:
    """Why not yet: `wandb sync` sends what is there and takes the run for done; what comes later
    would be left out."""
    if any(_HAS_ENDED in _end_of(log) for log in run.glob("logs/debug-internal.log")):
        return ""
    newest = max((file.lstat().st_mtime for file in run.glob("*.wandb")), default=0.0)
    if abs(time.time() - newest) > _QUIET:
        return ""
    return "it is being written: give this command again two minutes after its program has ended"


def _end_of(file: Path) -> bytes:
    """The last bytes of a log."""
    try:
        check_not_waited_for(file)
        with file.open("rb") as log:
            log.seek(max(0, file.stat().st_size - (1 << 12)))
            return log.read(1 << 12)
    except OSError:
        return b""

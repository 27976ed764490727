"""Where a run comes from: host, process, git commit, command line with its secrets cut out."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from typing import Any

from karaoke_train.runlog.secrets import cut_argv


def provenance(argv: Sequence[str]) -> dict[str, Any]:
    """The `host`, `pid`, `git` and `argv` fields of a config record."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "git": git_state(),
        "argv": cut_argv(argv),
    }


def git_state() -> dict[str, Any]:
    """`commit` and `branch` of the working folder, `dirty` if it has changes; empty outside git."""
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return {}
    state: dict[str, Any] = {"commit": commit}
    if branch := _git("symbolic-ref", "--short", "-q", "HEAD"):
        state["branch"] = branch
    if _git("status", "--porcelain", "--untracked-files=no"):
        state["dirty"] = True
    return state


def _git(*words: str) -> str:
    # `git status` refreshes the index, for which it takes a lock; a commit of the user's at that
    # moment would fail (git(1), GIT_OPTIONAL_LOCKS)
    command = ["git", "--no-optional-locks", *words]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=2, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""

"""Where a run comes from: host, process, git commit, command line with its secrets hidden."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Sequence
from typing import Any, Final

# Nothing may follow the word: --max_tokens and --tokenizer are no secrets
_SECRET: Final = re.compile(
    r"(?i)(api[-_]?key|access[-_]?key|token|secrets?|passw(or)?d|passphrase|credentials?)(?![a-z])"
)
_LOGIN: Final = re.compile(r"://[^/@\s]+@")  # https://user:password@host
_HIDDEN: Final = "***"


def provenance(argv: Sequence[str]) -> dict[str, Any]:
    """The `host`, `pid`, `git` and `argv` fields of a config record."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "git": git_state(),
        "argv": without_secrets(argv),
    }


def without_secrets(argv: Sequence[str]) -> list[str]:
    """The command line with `***` for the value of each flag that is named like a secret, and for
    each login in a URL."""
    shown: list[str] = []
    hide_next = False
    for word in (_LOGIN.sub(f"://{_HIDDEN}@", word) for word in argv):
        flag, equals, _ = word.partition("=")
        secret = bool(_SECRET.search(flag)) and (flag.startswith("-") or bool(equals))
        if hide_next and not word.startswith("-"):
            shown.append(_HIDDEN)
        else:
            shown.append(f"{flag}={_HIDDEN}" if secret and equals else word)
        hide_next = secret and not equals
    return shown


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

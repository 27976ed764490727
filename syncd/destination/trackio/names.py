"""Where trackio keeps its store, and what runs and projects are called in it; pure."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

# trackio drops all other characters, so that `a/b` and `ab` would be one project; names with these
# beginnings and ends are the names of other files of its
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
_RESERVED: Final = re.compile(r"registry-.*|.+_(system|configs|traces|artifacts|artifact_.*)")
_OTHERS: Final = re.compile(r"[^A-Za-z0-9_-]+")


def store_folder(env: Mapping[str, str] = os.environ) -> Path:
    """Where trackio's databases are: as trackio finds it."""
    if named := env.get("TRACKIO_DIR"):
        return Path(named).expanduser().absolute()
    cache = Path(env.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return (Path(env.get("HF_HOME") or cache) / "trackio").expanduser().absolute()


def address(folder: Path) -> str:
    """What tells this store from others, also those of other machines that share a home folder's
    name and not the folder."""
    return f"file://{socket.gethostname()}{quote(str(folder))}"


def project_name(project: str) -> str:
    """The project as the store has it: its own name where trackio keeps that as it is, else what is
    left of it with a few digits of its hash."""
    if _PLAIN.fullmatch(project) and not _RESERVED.fullmatch(project):
        return project
    digits = hashlib.sha256(project.encode(errors="surrogateescape")).hexdigest()[:6]
    return f"{_OTHERS.sub('-', project).strip('-')[:90] or 'project'}-{digits}"


def log_id(run_id: str, ordinal: int) -> str:
    """What makes a row the only one of its line: the store takes no second row with it."""
    return f"{run_id}:{ordinal}"

"""Where trackio keeps its store, and what runs, files and fields are called in it; pure."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

# trackio drops all other characters, so that `a/b` and `ab` would be one project; names with these
# beginnings and ends are the names of other files of its
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
_RESERVED: Final = re.compile(r"registry-.*|.+_(system|configs|traces|artifacts|artifact_.*)")
_OTHERS: Final = re.compile(r"[^A-Za-z0-9_-]+")
_TYPE: Final = re.compile(r"(?:record/)*_type")
_APART: Final = "record/"  # as `rows.key_of` sets a record's own fields apart
# Of files that are shown. By the ending the page's server says what a file is, and one that it
# calls HTML or SVG could run its scripts as the page's own
_ENDINGS: Final = frozenset({
    ".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff",
    ".wav", ".mp3", ".ogg", ".oga", ".opus", ".flac", ".m4a", ".aac", ".aif", ".aiff",
})  # fmt: skip


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


def media_folder(run_id: str) -> str:
    """Where a run's files are below its project's: never `files`, all of which trackio lists as the
    project's own."""
    return f"run-{run_id}"


def file_name(digest: str, path: str) -> str:
    """What a picture or sound is called: by its content, so that there is one of it."""
    ending = Path(path).suffix.lower()
    return digest[:20] + (ending if ending in _ENDINGS else "")


def untyped(value: Any) -> Any:
    """What a record says, without a mapping that trackio would take for something of its own: by
    `_type` it knows a picture, whose file the mapping names, a table, a trace, which it moves
    elsewhere. A record would have the page show another run's files. `typed` is the way back."""
    if isinstance(value, dict):  # as JSON has it: to ask for a Mapping takes several times as long
        return {_apart(key): untyped(item) for key, item in value.items()}
    return [untyped(item) for item in value] if isinstance(value, list) else value


def typed(value: Any) -> Any:
    """What the record said of which this was made by `untyped`."""
    if isinstance(value, dict):
        return {_together(key): typed(item) for key, item in value.items()}
    return [typed(item) for item in value] if isinstance(value, list) else value


def _apart(key: str) -> str:
    return f"{_APART}{key}" if _TYPE.fullmatch(key) else key


def _together(key: str) -> str:
    return key.removeprefix(_APART) if _TYPE.fullmatch(key) else key

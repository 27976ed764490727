"""Where a run's files are in a log folder."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Final

LOG_FILES: Final = "training_log_*.jsonl"
DOCUMENTS: Final = "training_log_*.json"  # the older format: one JSON document per run
LOCKS: Final = ".locks"  # the folder of a log folder's locks
MEDIA: Final = "media"  # and of its runs' pictures and sounds
UNNAMED_PROJECT: Final = "uncategorized"  # wandb's own word for runs without a project
_LONGEST_MEDIA: Final = 180  # characters; file systems take names of 255 bytes
_NOT_IN_PROJECTS: Final = frozenset("/\\#?%:")  # what wandb refuses in the name of one


def log_name(started: datetime, attempt: int = 0) -> str:
    """The file name of a run; `attempt` tells runs apart that started in the same second."""
    suffix = f"_{attempt}" if attempt else ""
    return f"training_log_{started:%Y%m%d_%H%M%S}{suffix}.jsonl"


def lock_path(path: Path) -> Path:
    """The lock of a run's file: held means that its writer lives."""
    return path.parent / LOCKS / f"{path.name}.lock"


def run_id_lock_path(folder: Path, run_id: str) -> Path:
    """The lock that is held while the run is looked for in `folder`, and made if it isn't there."""
    return folder / LOCKS / f"{run_id}.create.lock"


def default_project(folder: Path) -> str:
    """The project of runs in `folder` that name none: the folder's own name, or that of the folder
    around it where it is called `logs`. 1 to 128 characters, as wandb takes them."""
    # Not `resolve`: a link called `logs` may lead to a scratch disk, whose folder says nothing
    folder = Path(os.path.abspath(folder))  # noqa: PTH100
    name = folder.parent.name if folder.name == "logs" else folder.name
    fit = (c if c.isprintable() and c not in _NOT_IN_PROJECTS else "-" for c in name)
    return "".join(fit).strip(" .-")[:128].rstrip() or UNNAMED_PROJECT


def media_folder(path: Path, run_id: str) -> Path:
    """Where the run in `path` keeps its pictures and sounds."""
    return path.parent / MEDIA / run_id


def media_name(key: str) -> str:
    """How the files of a metric's pictures or sounds begin: no two keys alike. Of a long one, and a
    letter that is not ASCII takes up to 12 characters, the beginning and a checksum."""
    from urllib.parse import quote
    from zlib import crc32

    name = quote(key, safe="")
    if len(name) <= _LONGEST_MEDIA:
        return name
    return f"{name[:_LONGEST_MEDIA]}-{crc32(name.encode()):08x}"

"""Where a run's files are in a log folder."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

LOG_FILES: Final = "training_log_*.jsonl"
DOCUMENTS: Final = "training_log_*.json"  # the older format: one JSON document a run


def log_name(started: datetime, attempt: int = 0) -> str:
    """The file name of a run; `attempt` tells runs apart that started in the same second."""
    suffix = f"_{attempt}" if attempt else ""
    return f"training_log_{started:%Y%m%d_%H%M%S}{suffix}.jsonl"


def lock_path(path: Path) -> Path:
    """The lock of a run's file: held means that its writer lives."""
    return path.parent / ".locks" / f"{path.name}.lock"


def media_folder(path: Path, run_id: str) -> Path:
    """Where the run in `path` keeps its pictures and sounds."""
    return path.parent / "media" / run_id

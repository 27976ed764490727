"""Small JSON files that survive a crash at any instant: written beside, synced, renamed over."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from syncd.failpoints import failpoint


def write(path: Path, value: Any) -> None:
    """Replace the file at `path`, mode 0600. Raises OSError, and then the old file stands."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    what = path.parent.name  # cursors, problems, …
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            failpoint(f"{what}.before_write")
            file.write(orjson.dumps(value, option=orjson.OPT_INDENT_2))
            file.flush()
            failpoint(f"{what}.after_write")
            os.fsync(file.fileno())
        failpoint(f"{what}.before_rename")
        draft.replace(path)
        failpoint(f"{what}.after_rename")
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise
    _sync_folder(path.parent)


def read(path: Path) -> Any:
    """What the file holds; None when it's missing, unreadable or damaged."""
    try:
        return orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

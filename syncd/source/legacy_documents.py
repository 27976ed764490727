"""Older documents (`training_log_*.json`) -> record logs in the state folder, to be uploaded."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path
from typing import Final

from karaoke_train.runlog.format import BadRecord, RunHeader, decode, encode
from karaoke_train.runlog.layout import DOCUMENTS, default_project
from karaoke_train.runlog.legacy import document_records, parse_document
from syncd.errors import SyncError, unreadable
from syncd.paths import make_private
from syncd.source.fingerprint import first_line
from syncd.source.safe_open import open_log

MAX_DOCUMENT: Final = 256 << 20  # bytes: a document is read whole, and takes six times that


def is_document(path: Path) -> bool:
    """Whether the file's name is that of an older document."""
    return path.suffix == ".json"


def documents_in(folder: Path) -> list[Path]:
    """The older documents in a folder."""
    return sorted(folder.glob(DOCUMENTS))


def convert(path: Path, state: Path, *, own: bool = False) -> Path:
    """The document as a record log, in the state folder; again, it's the same file, longer if the
    document has grown. own: see `open_log`. Raises SyncError when it can't be read, or kept, or was
    rewritten."""
    try:
        document = parse_document(_read(path, own=own))
        records = document_records(
            document, name=_unnamed(path), project=default_project(path.parent)
        )
        first = next(records)
        target = state / "documents" / f"{first['run_id']}.jsonl"
        first["project"] = _project_before(target) or first["project"]
        data = bytearray()
        for record in chain([first], records):
            data += encode(record)  # kept by itself, a line of 150 bytes takes 4 KB (orjson's room)
    except OSError as error:
        raise unreadable(error, path) from None
    except BadRecord as error:
        raise SyncError(
            f"is no training log: {error}",
            where=str(path),
            meaning="Nothing of it was uploaded",
            remedy="Move it away, or repair it",
        ) from None
    try:
        _extend(target, data, path)
    except OSError as error:
        raise SyncError(
            f"can't be written: {error.strerror}",
            where=str(target),
            meaning=f"Nothing of {path.name} was uploaded",
            remedy="Make the state folder writable, or set XDG_STATE_HOME",
        ) from None
    return target


def _read(path: Path, *, own: bool) -> bytes:
    with open_log(path, own=own) as file:
        data = file.read(MAX_DOCUMENT + 1)
    if len(data) > MAX_DOCUMENT:
        raise BadRecord(f"it has more than {MAX_DOCUMENT >> 20} MiB")
    return data


def _unnamed(path: Path) -> str:
    """`training_log_20240115_143022.json` -> `sync_20240115_143022`."""
    return f"sync_{path.stem.removeprefix('training_log_')}"


def _project_before(target: Path) -> str:
    """The project that the document was uploaded to; empty when it wasn't. A document that was
    moved to another folder since goes on where it is."""
    try:
        return RunHeader.of(decode(first_line(target))).project
    except (OSError, BadRecord):
        return ""


def _extend(target: Path, data: bytearray, source: Path) -> None:
    """Make `target` hold `data`, which has to begin with what it holds: append, never change."""
    old = target.read_bytes() if target.exists() else b""
    if not data.startswith(old):
        raise SyncError(
            "was changed where it's uploaded already",
            where=str(source),
            meaning="What is uploaded stays as it is; nothing of the change was sent",
            remedy="Put the document back as it was",
        )
    if len(data) == len(old):
        return
    make_private(target.parent)
    with target.open("ab") as file:
        file.write(data[len(old) :])
        file.flush()
        os.fsync(file.fileno())

"""The types of records: told once, for the writer and readers. Their fields are in `record_fields`.

What a type becomes at a server, its history row, is in `syncd.destination.rows`. A record of a type
that is not listed here is still a record: readers carry it along with its fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

SCHEMA: Final = 1  # version of the format, in each config record


class RecordType(StrEnum):
    """A record's `type`. Equal to its text: `record.get("type") == RecordType.END`."""

    CONFIG = "config"
    TRAIN = "train"
    VAL = "val"
    EPOCH_SUMMARY = "epoch_summary"
    MEDIA = "media"
    SYSTEM = "system"
    END = "end"

    @classmethod
    def of(cls, record: Mapping[str, object]) -> RecordType | None:
        """The record's type; None for one without a type, or with one that is not listed."""
        # Looked at before it is looked up: a foreign file may have a list there, which no
        # dictionary takes as a key
        name = record.get("type")
        return _BY_NAME.get(name) if isinstance(name, str) else None


_BY_NAME: Final[Mapping[str, RecordType]] = {kind.value: kind for kind in RecordType}

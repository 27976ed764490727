"""The page about the record format has every type with its fields, as the code tells them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from karaoke_train.runlog.format import MAX_DEPTH, MAX_LINE, Record, decode, encode
from karaoke_train.runlog.record_fields import SPECS
from karaoke_train.runlog.record_types import RecordType
from tests.docs.record_tables import PAGE, drawn, tables

TEXT = PAGE.read_text("utf-8")


def test_the_page_shows_the_types_as_they_are() -> None:
    assert drawn(TEXT) == tables(), "redraw it: python -m tests.docs.record_tables"


@pytest.mark.parametrize("record_type", RecordType)
def test_a_type_or_field_more_or_less_changes_the_page(record_type: RecordType) -> None:
    spec = SPECS[record_type]
    assert tables({**SPECS, record_type: replace(spec, fields=spec.fields[1:])}) != tables()
    assert tables({key: value for key, value in SPECS.items() if key != record_type}) != tables()
    for field in spec.fields:
        assert f"| `{field.name}` |" in drawn(TEXT).partition(f"### `{record_type}`")[2]


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    assert f"{MAX_LINE >> 20} MiB" in TEXT
    assert MAX_LINE == 1 << 20
    assert f"{MAX_DEPTH} levels" in TEXT


def example() -> list[Record]:
    """The lines of the page's example."""
    block = TEXT.partition("```json\n")[2].partition("```")[0]
    return [decode(line.encode()) for line in block.splitlines()]


def test_the_example_on_the_page_is_a_run_of_listed_types_and_fields() -> None:
    records = example()
    assert [RecordType.of(record) for record in records][:: len(records) - 1] == [
        RecordType.CONFIG,
        RecordType.END,
    ]
    for record in records:
        fields = [field.name for field in SPECS[RecordType(record["type"])].fields]
        own = {name for name in record if "/" not in name} - {"type"}
        assert own <= set(fields)
        encode(record)

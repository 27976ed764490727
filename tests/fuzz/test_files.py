"""Files with anything in them: read, or refused in words."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karaoke_train import annotations
from karaoke_train.annotations import AnnotationError
from karaoke_train.notes import Note
from karaoke_train.runlog.reader import Line, Position
from syncd import paths, settings
from syncd.destination.rows import row
from syncd.errors import SyncError, UsageError
from syncd.report.collect import collect
from syncd.report.status import to_json
from syncd.settings import Settings
from syncd.source import legacy_documents, tailer
from tests.fakes.uploads import FakeServer
from tests.fuzz import JSON, TEXTS, mutated
from tests.syncd.state.test_damaged import KINDS, written
from tests.syncd.world import config_line, end_line, train_line

DOCUMENT: Final = {
    "config": {"run_id": "r", "run_name": "n", "lr": 0.1},
    "train_metrics": [{"step": 1, "epoch": 1, "train/loss": 0.5, "timestamp": "2024-01-15T14:30"}],
    "val_metrics": [{"step": 1, "val/loss": 0.5}],
    "epoch_summaries": [{"epoch": 1, "train_loss": 0.5, "train_metrics": {"a": 1}}],
}
NOTES: Final = [Note(0.1, 0.5, 60.0), Note(0.6, 1.0, 62.0)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


def emptied(folder: Path) -> Path:
    """A folder of its own for one example."""
    place = folder / os.urandom(8).hex()
    place.mkdir()
    return place


@given(document=mutated(DOCUMENT).map(lambda found: json.dumps(found).encode()) | st.binary())
def test_an_older_document_is_converted_or_refused(folder: Path, document: bytes) -> None:
    place = emptied(folder)
    path = place / "training_log_a.json"
    path.write_bytes(document)
    with contextlib.suppress(SyncError):
        log = legacy_documents.convert(path, place)
        for line in tailer.each_line(log):
            assert line.record is not None
            row(line, 1_705_000_000.0, 1)


@given(record=mutated(json.loads(train_line(1))) | mutated(json.loads(config_line())), bad=JSON)
def test_any_line_of_a_log_has_a_row(record: Any, bad: Any) -> None:
    data = b"".join(json.dumps(found).encode() + b"\n" for found in (record, bad))
    for line in tailer.Lines.of(data, Position()):
        json.dumps(row(line, 1_705_000_000.0, 1), default=str)


@given(
    first=st.binary() | mutated(json.loads(config_line())).map(lambda r: json.dumps(r).encode()),
    rest=st.binary(),
)
def test_status_tells_of_any_log(folder: Path, first: bytes, rest: bytes) -> None:
    place = emptied(folder)
    (place / "training_log_a.jsonl").write_bytes(first + b"\n" + rest)
    (place / "training_log_b.jsonl").write_bytes(config_line() + rest)
    found = collect(Settings(log_dir=(place,), state_dir=place / "state"), FakeServer())
    json.dumps(to_json(found))


@given(data=st.data())
@pytest.mark.parametrize("suffix", annotations.SUFFIXES)
def test_a_label_file_is_read_or_refused(folder: Path, suffix: str, data: st.DataObject) -> None:
    path = emptied(folder) / f"song{suffix}"
    annotations.write(path, NOTES)
    whole = path.read_bytes()
    at, end = sorted((data.draw(st.integers(0, len(whole))), data.draw(st.integers(0, len(whole)))))
    path.write_bytes(whole[:at] + data.draw(st.binary(max_size=12)) + whole[end:])
    with contextlib.suppress(AnnotationError):
        for note in annotations.read_labels(path).notes:
            assert note.onset < note.offset


@given(notes=mutated([{"onset": 0.1, "offset": 0.5, "pitch": 60}]), text=TEXTS)
def test_labels_of_any_json_or_text_are_read_or_refused(
    folder: Path, notes: Any, text: str
) -> None:
    place = emptied(folder)
    for name, content in (("a.json", json.dumps(notes)), ("b.txt", text), ("c.csv", text)):
        (place / name).write_bytes(content.encode())
        with contextlib.suppress(AnnotationError):
            annotations.read_labels(place / name)


SETTINGS: Final = st.sampled_from([*settings._READ, *settings._LIMITS, "limits", "nothing"])
VALUES: Final = st.one_of(
    TEXTS.filter(lambda text: "\0" not in text), st.integers(-(2**62), 2**62), st.floats(),
    st.booleans(), st.lists(TEXTS | st.integers(-9, 9), max_size=3),
)  # fmt: skip


@given(
    filed=st.dictionaries(SETTINGS, VALUES, max_size=4),
    named=st.dictionaries(SETTINGS, TEXTS.filter(lambda text: "\0" not in text), max_size=3),
    raw=st.none() | st.binary(),
)
def test_settings_are_in_force_or_refused(
    folder: Path, filed: dict[str, Any], named: dict[str, str], raw: bytes | None
) -> None:
    place = emptied(folder)
    env = {"XDG_CONFIG_HOME": str(place), "XDG_STATE_HOME": str(place)}
    env |= {f"KARAOKE_SYNCD_{key.upper()}": value for key, value in named.items()}
    path = paths.config_file(env)
    path.parent.mkdir()
    text = "".join(f"{key} = {_toml(value)}\n" for key, value in filed.items())
    path.write_bytes(text.encode() if raw is None else raw)
    with contextlib.suppress(UsageError):
        settings.load({}, env)


def _toml(value: Any) -> str:
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=True).replace("\\u007f", "\\u007F")


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_state_file_with_anything_in_it_is_read_or_lost(
    folder: Path, kind: int, data: st.DataObject
) -> None:
    path, read = list(written(emptied(folder)).items())[kind]
    document = json.loads(path.read_bytes())
    either = mutated(document).map(lambda found: json.dumps(found).encode()) | st.binary()
    path.write_bytes(data.draw(either))
    read()


class ToyFile:
    """A log as somebody who keeps all of it in mind has it: bytes, and the lines that are whole."""

    def __init__(self) -> None:
        self.data = b""

    def lines_from(self, at: Position) -> list[bytes]:
        return [line + b"\n" for line in self.data[at.offset :].split(b"\n")[:-1]]


PIECES: Final = st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"x"))
WHOLE: Final = st.sampled_from([train_line(1), end_line(), b"\n", b"{}\n"])
ACTIONS: Final = st.one_of(
    st.tuples(st.just("append"), PIECES),  # a torn line, perhaps
    st.tuples(st.just("line"), WHOLE | PIECES.map(lambda data: data + b"\n")),
    st.tuples(st.just("move"), st.just(b"")),
    st.tuples(st.just("copy"), st.just(b"")),  # over itself, as rsync does: another inode
    st.tuples(st.just("read"), st.just(b"")),
    st.tuples(st.just("restart"), st.just(b"")),
)  # fmt: skip


@given(actions=st.lists(ACTIONS, max_size=30))
def test_a_tailer_gives_what_a_toy_model_gives_whatever_is_done_to_the_file(
    folder: Path, actions: list[tuple[str, bytes]]
) -> None:
    place, toy = emptied(folder), ToyFile()
    path = place / "training_log_0.jsonl"
    path.write_bytes(b"")
    at, got, expected = Position(), list[Line](), list[bytes]()
    for number, (action, data) in enumerate([*actions, ("read", b"")]):
        match action:
            case "append" | "line":
                toy.data += data
                with path.open("ab") as file:
                    file.write(data)
            case "move":
                path = path.rename(place / f"training_log_{number}.jsonl")
            case "copy":
                other = place / "copy"
                other.write_bytes(path.read_bytes())
                other.replace(path)
            case "restart":  # from what was confirmed: the start of the last line that was read
                if got:
                    at = got.pop().at
                    expected.pop()
            case "read":
                expected += toy.lines_from(at)
                found = list(tailer.each_line(path, at))
                at = found[-1].end if found else at
                got += found
                assert [toy.data[line.at.offset : line.end.offset] for line in got] == expected
                assert [line.at.ordinal for line in got] == list(range(len(got)))

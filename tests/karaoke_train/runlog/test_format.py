"""One record <-> one line: what is written can be read, and what can't be read says why."""

from __future__ import annotations

import enum
import json
import math
from argparse import Namespace
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karaoke_train.runlog import format as module
from karaoke_train.runlog.format import (
    MAX_DEPTH,
    MAX_LINE,
    BadRecord,
    RunHeader,
    decode,
    encode,
    encode_what_fits,
)
from karaoke_train.runlog.record_types import RecordType

NON_FINITE = ("NaN", "Infinity", "-Infinity")
TEXT = st.text(max_size=8).filter(lambda text: text not in NON_FINITE)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)  # NaN isn't equal to itself: see below
    | TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.dictionaries(TEXT, VALUES, min_size=1, max_size=4)
BASE = {"type": "config", "run_id": "r1"}


def short(value: object) -> str:
    """A test's name for a parameter."""
    return repr(value)[:40] if isinstance(value, bytes) else ""


def refuse(token: str) -> None:
    raise AssertionError(f"bare {token}")


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@given(RECORDS)
def test_a_record_comes_back_as_it_was_from_one_line_of_strict_json(record: dict[str, Any]) -> None:
    line = encode(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line) == record
    assert decode(line[:-1]) == record  # its newline is no part of it
    json.loads(line, parse_constant=refuse)


def test_non_finite_numbers_are_strings_in_the_line_and_floats_again() -> None:
    line = encode({"loss": [math.nan, math.inf, -math.inf]})
    assert line == b'{"loss":["NaN","Infinity","-Infinity"]}\n'
    nan, inf, negative = decode(line)["loss"]
    assert math.isnan(nan)
    assert (inf, negative) == (math.inf, -math.inf)


def test_the_three_strings_come_back_as_floats_except_in_a_config_records_names() -> None:
    """The one documented exception of the round trip."""
    assert decode(encode({"caption": "Infinity"})) == {"caption": math.inf}
    config = decode(
        encode(BASE | {"run_name": "NaN", "argv": ["NaN"], "config": {"x": "Infinity"}})
    )
    assert config["run_name"] == "NaN"
    assert config["argv"] == ["NaN"]
    assert config["config"] == {"x": math.inf}


def test_a_config_record_without_config_gets_none() -> None:
    assert decode(encode(BASE)) == BASE


class Color(enum.StrEnum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: float


class LikeAnArray:
    """As tensors of TensorFlow are: no tolist."""

    def __array__(self) -> Any:
        return np.array([1.0, 2.0])


class Vague:
    """As a sparse tensor or a mock object: it has every method, and none of use."""

    def tolist(self) -> Vague:
        return self

    def __array__(self) -> Any:
        raise RuntimeError("not for this layout")

    def __float__(self) -> float:
        raise TypeError("no number")

    def __str__(self) -> str:
        return "vague"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (np.float32(0.5), 0.5),
        (np.float64("nan"), "NaN"),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array([[1.0, math.inf]]), [[1.0, math.inf]]),
        ((1, 2), [1, 2]),
        ({3}, [3]),
        (Path("/tmp/a"), "/tmp/a"),
        (Color.RED, "red"),
        ({1: {None: "x"}}, {"1": {"None": "x"}}),
        ({Color.RED: 1, np.str_("b"): 2}, {"red": 1, "b": 2}),
        (Decimal("0.25"), 0.25),
        (Decimal("NaN"), "NaN"),
        (Fraction(1, 4), 0.25),
        (np.longdouble("0.5"), 0.5),
        (np.complex64(1j), "1j"),
        (range(2), [0, 1]),
        (deque([1]), [1]),
        (b"a", "b'a'"),
        (Namespace(lr=1), {"lr": 1}),
        (SimpleNamespace(lr=Fraction(1, 2)), {"lr": 0.5}),
        (Point(1, math.inf), {"x": 1, "y": math.inf}),
        (LikeAnArray(), [1.0, 2.0]),
        (Vague(), "vague"),
        (2**70, float(2**70)),
        (-(2**70), -float(2**70)),
        pytest.param(10**5000, math.inf, id="5000-digits"),
        pytest.param(-(10**5000), -math.inf, id="minus-5000-digits"),
        ("caf\udce9", "caf\\udce9"),  # a file name that is no UTF-8
        ({"\udce9": 1}, {"\\udce9": 1}),
    ],
)
def test_values_that_json_lacks_are_written_as_what_they_stand_for(value: Any, read: Any) -> None:
    got = decode(encode({"x": value}))["x"]
    if read == "NaN":
        assert math.isnan(got)
    else:
        assert got == read
        assert type(got) is type(read)


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Named(str):
    """A text that is more than one."""

    def __str__(self) -> str:
        return "its own words"


class Counted(dict[str, Any]):
    """An object whose items are not those that it holds."""

    def items(self) -> Any:
        return {"other": 1}.items()


ODD = st.sampled_from(
    [
        math.nan,
        math.inf,
        -math.inf,
        -0.0,
        5e-324,
        1.7976931348623157e308,
        1e16,
        2**63,
        2**64 - 1,
        2**64,
        -(2**63) - 1,
        10**400,
        "null",
        "caf\udce9",
        "\x00\n\u2028",
        Color.RED,
        RecordType.TRAIN,
        Named("n"),
        np.float64(0.1),
        np.float64("nan"),
        np.float32(0.1),
        np.int64(7),
        np.bool_(True),
        Path("/tmp"),
        Mute(),
        Counted(a=1),
        b"bytes",
        1j,
        (),
        {3},
    ]
)
KEYS = TEXT | st.sampled_from(["null", "caf\udce9", 1, None, Color.RED, Named("n"), Named("\xe9")])


def line_or_reason(convert: Any, given: Any) -> Any:
    try:
        return convert(given)
    except BadRecord as error:
        return str(error)


@settings(max_examples=8 * settings.default.max_examples)
@given(st.dictionaries(KEYS, SCALARS | ODD, max_size=6))
def test_the_short_way_to_a_line_makes_the_same_line(record: dict[Any, Any]) -> None:
    assert line_or_reason(encode, record) == line_or_reason(module._encode_any, record)


def test_a_record_of_a_callers_own_kind_is_asked_for_its_items() -> None:
    assert encode(Counted(a=1)) == b'{"other":1}\n'


def test_a_record_of_plain_scalars_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_encode_any", None)
    line = encode({"type": RecordType.TRAIN, "a": 0.5, "b": 1, "c": True, "d": "\xe9"})
    assert line == '{"type":"train","a":0.5,"b":1,"c":true,"d":"\xe9"}\n'.encode()


def test_a_line_of_exactly_the_limit_is_good_and_one_byte_more_is_not() -> None:
    room = MAX_LINE - len(encode({"x": ""}))
    assert len(encode({"x": "a" * room})) == MAX_LINE
    assert decode(encode({"x": "a" * room}))["x"] == "a" * room
    with pytest.raises(BadRecord, match="1,048,577 bytes"):
        encode({"x": "a" * (room + 1)})
    with pytest.raises(BadRecord, match="over-long: 1,048,577 bytes"):
        decode(b'{"x":"' + b"a" * (room + 1) + b'"}\n')


def test_the_same_depth_can_be_written_and_read() -> None:
    assert decode(encode({"x": nested(MAX_DEPTH)})) == {"x": nested(MAX_DEPTH)}
    with pytest.raises(BadRecord, match="deep"):
        encode({"x": nested(MAX_DEPTH + 1)})
    with pytest.raises(BadRecord, match="deep"):
        decode(json.dumps({"x": nested(MAX_DEPTH + 1)}).encode())


def test_a_name_that_is_more_than_a_text_is_a_name() -> None:
    assert decode(encode({Color.RED: 1.0, np.str_("b"): 2.0})) == {"red": 1.0, "b": 2.0}


def test_what_fits_is_kept_of_a_record_that_does_not() -> None:
    many = {f"m{n}": "x" * 500 for n in range(3000)}
    line, told = encode_what_fits(
        {"type": "train", "step": 1, "loss": 0.5, "mute": Mute(), "hist": "x" * MAX_LINE} | many
    )
    record = decode(line)
    assert [record[name] for name in ("type", "step", "loss", "left_out")] == [
        *("train", 1, 0.5),
        told,
    ]
    assert "mute: a value can't be written: RuntimeError('no words'); hist: the record" in told
    assert "too much for one line" in told
    assert told.endswith("more")
    assert 1 << 19 < len(line) <= MAX_LINE


def test_values_that_can_not_be_written_are_bad_records() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for value in (loop, Mute(), {Mute(): 1}):
        with pytest.raises(BadRecord):
            encode({"x": value})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"a": 1\n', "not JSON"),
        (b'{"a": 1}{"b": 2}\n', "not JSON"),
        (b"\0" * 40 + b"\n", "not JSON"),
        (b'{"a": 1}\0\0\0\n', "not JSON"),
        (b'{"a": "\xff"}\n', "UTF-8"),
        (b'{"a": NaN, "b": "\xff"}\n', "UTF-8"),
        (b'{"a": "\\ud800"}\n', "not JSON"),
        (b'{"a": NaN, "b": "\\ud800"}\n', "not JSON"),
        (b"[1, 2]\n", "an array"),
        (b'"text"\n', "a string"),
        (b"12\n", "a number"),
        (b"NaN\n", "a number"),
        (b"true\n", "a boolean"),
        (b"null\n", "null"),
        (b'{"a": 1e400}\n', "infinity"),
        (b'{"a": NaN, "b": 1e400}\n', "infinity"),
        (b'{"a": ' + b"1" * 5000 + b"}\n", "infinity"),
        (b'{"a": ' + b"[" * 700 + b"]" * 700 + b"}\n", "deep"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "not JSON"),
        (b'{"a": NaN, "b": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "not JSON"),
        (b'{"type": "config", "a": ' + b"[" * 700 + b"]" * 700 + b"}\n", "deep"),
        (b"\xff\xfe{\0}\0\n", "not JSON"),  # UTF-16
    ],
    ids=short,
)
def test_a_bad_line_says_why(line: bytes, words: str) -> None:
    with pytest.raises(BadRecord, match=words):
        decode(line)


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (b"\n", {}),
        (b"", {}),
        (b" \t\r\n", {}),
        (b"\xef\xbb\xbf\n", {}),
        (b'\xef\xbb\xbf{"a": 1}\n', {"a": 1}),
        (b'{"a": 1}\r\n', {"a": 1}),
        (b'  {"a": 1}  \n', {"a": 1}),
        (b'{"a": 1, "a": 2}\n', {"a": 2}),
        (
            b'{"a": Infinity, "b": [-Infinity, 1.5, 3, true, null, "NaN,"]}\n',
            {"a": math.inf, "b": [-math.inf, 1.5, 3, True, None, "NaN,"]},
        ),
        (b'{"a": 123456789012345678901234567890}\n', {"a": 1.2345678901234568e29}),
        (
            b'{"a": Infinity, "b": 123456789012345678901234567890}\n',
            {"a": math.inf, "b": 1.2345678901234568e29},
        ),
        (b'{"type": ["odd"], "unheard": {"of": 1}}\n', {"type": ["odd"], "unheard": {"of": 1}}),
    ],
    ids=short,
)
def test_lines_of_other_writers_are_read(line: bytes, record: dict[str, Any]) -> None:
    assert decode(line) == record


SPELLED = st.recursive(
    SCALARS | st.sampled_from([*NON_FINITE, math.nan, math.inf, "N", "I", "\\", "\xe9NaN"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
TYPES = st.sampled_from(["train", "config", "NaN", None])


@settings(max_examples=5 * settings.default.max_examples)
@given(st.dictionaries(TEXT, SPELLED, max_size=4), TYPES, st.booleans(), st.sampled_from("\xe9 N"))
def test_a_line_says_the_same_whether_its_values_are_walked_or_not(
    record: dict[str, Any], kind: str | None, escaped: bool, space: str
) -> None:
    text = json.dumps({"type": kind, **record, "space": space}, ensure_ascii=escaped)
    for line in (text, text.replace("N", "\\u004e"), text.replace("I", "\\u0049")):
        with pytest.MonkeyPatch.context() as patch:
            quick = line_or_reason(decode, line.encode())
            patch.setattr(module, "_worth_a_walk", lambda line: True)
            assert repr(quick) == repr(line_or_reason(decode, line.encode()))


@pytest.mark.parametrize("spelled", ["NaN", "\\u004eaN", "N\\u0061N"])
def test_a_spelled_number_is_a_float_however_its_letters_are_written(spelled: str) -> None:
    assert math.isnan(decode(f'{{"a": "{spelled}"}}'.encode())["a"])


def test_the_values_of_a_plain_line_are_not_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_revive", None)
    line = b'{"type":"train","train/IN":0.5,"text":"No Index","list":[[{"a":1}]]}\n'
    assert decode(line)["list"] == [[{"a": 1}]]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_a_bad_record(line: bytes) -> None:
    with suppress(BadRecord):  # and nothing else
        assert isinstance(decode(line), dict)


def test_a_header_has_what_its_record_says() -> None:
    header = RunHeader.of(
        BASE | {"project": "p", "config": {"lr": 1}, "upload": False, "host": "h", "argv": ["a"]}
    )
    assert (header.run_id, header.run_name, header.project) == ("r1", "r1", "p")
    assert (header.config, header.upload) == ({"lr": 1}, False)
    assert header.trainer == {"host": "h", "argv": ["a"]}


def test_a_header_has_the_labels_of_its_record() -> None:
    labels = {"tags": ["a", "b"], "group": "g", "job_type": "j", "notes": "n", "part": "p1"}
    header = RunHeader.of(BASE | labels)
    assert (header.tags, header.group, header.job_type) == (("a", "b"), "g", "j")
    assert (header.notes, header.part) == ("n", "p1")


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("tags", "one", ("one",)),
        ("tags", ["a", 7, "", None, ["b"]], ("a",)),
        ("tags", {"a": 1}, ()),
        ("tags", None, ()),
        ("part", "a b", ""),
        ("part", "p" * 65, ""),
        ("part", 7, ""),
        ("part", None, ""),
        ("group", None, ""),
        ("group", 7, "7"),
        ("project", None, ""),
    ],
)
def test_odd_labels_of_other_writers_are_read_as_far_as_they_go(
    field: str, value: Any, read: Any
) -> None:
    assert getattr(RunHeader.of(BASE | {field: value}), field) == read
    assert getattr(RunHeader.of(BASE), field) == type(read)()


@pytest.mark.parametrize(
    ("config", "read"),
    [({}, {}), (None, {}), ([], {}), ([1], {"config": [1]}), ("text", {"config": "text"})],
)
def test_a_config_that_is_no_object_is_kept_as_one(config: Any, read: Any) -> None:
    assert RunHeader.of(BASE | {"config": config}).config == read


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"type": "train"},
        {"type": "config"},
        {"type": ["config"], "run_id": "r"},
        BASE | {"run_id": 7},
        BASE | {"run_id": ""},
        BASE | {"run_id": "../etc"},
        BASE | {"run_id": "a" * 65},
        BASE | {"run_id": "a\n"},
        BASE | {"run_id": "x" * 10_000},
    ],
)
def test_a_record_that_names_no_run_is_no_header(record: dict[str, Any]) -> None:
    with pytest.raises(BadRecord) as bad:
        RunHeader.of(record)
    assert len(str(bad.value)) < 200

"""Bad records through the whole chain: the good ones come out once and equal, the bad ones are
counted and kept, and no ordinal moves; however the bytes came."""

from __future__ import annotations

import json
import math
import tempfile
import time
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karaoke_train.runlog.format import BadRecord, encode
from syncd.destination.wandb.credentials import Login
from syncd.destination.wandb.destination import WandbDestination
from syncd.errors import Exit
from syncd.paths import destination_folder
from syncd.settings import Settings
from syncd.state import quarantine
from syncd.sync.assemble import build_daemon
from syncd.sync.scheduler import Limits
from tests.fakes.wandb_server import WandbServer
from tests.faults.rig import LOCAL, Rig
from tests.faults.test_verify import verify
from tests.patience import patience, until
from tests.syncd.viewer import needs_trackio
from tests.syncd.world import World, config_line, end_line, train_line


@dataclass(frozen=True)
class Piece:
    """One line of a file, and the record that it has to come out as; None for a bad one."""

    raw: bytes
    record: dict[str, Any] | None


def deep(levels: int) -> bytes:
    return b'{"type":"train","deep":' + b"[" * levels + b"]" * levels + b"}\n"


BAD = {
    "torn and gone on": b'{"type":"train","step":\n',
    "NUL run": b"\x00" * 4096 + b"\n",
    "NUL run before a record": b"\x00" * 12 + b'{"type":"train","step":1}\n',
    "invalid UTF-8": b'{"type":"train","name":"\xff\xfe"}\n',
    "over-long": b'{"type":"train","pad":"' + b"x" * (1 << 20) + b'"}\n',
    "over-long, more than a read": b"x" * (5 << 19) + b"\n",
    "deep": deep(70),
    "very deep": deep(100_000),
    "array": b"[1, 2]\n",
    "string": b'"text"\n',
    "number": b"12\n",
    "null": b"null\n",
    "two records": b'{"a":1}{"b":2}\n',
    "carriage return alone": b'{"a":1}\r{"b":2}\n',
    "single quotes": b"{'a': 1}\n",
    "trailing comma": b'{"a": 1,}\n',
    "lone surrogate": b'{"type":"train","name":"\\ud800"}\n',
}
OUTSIDE = {"type": "media", "key": "k", "path": "../../etc/passwd"}  # a row, and a bad line too
ODD = {
    "BOM": (b'\xef\xbb\xbf{"type":"train","step":1}\n', {"type": "train", "step": 1}),
    "CRLF": (b'{"type":"train","step":2}\r\n', {"type": "train", "step": 2}),
    "blank": (b"\n", {}),
    "spaces": (b"  \t \r\n", {}),
    "NaN token": (b'{"type":"train","x":NaN,"y":-Infinity}\n',
                  {"type": "train", "x": math.nan, "y": -math.inf}),
    "NaN string": (b'{"type":"train","x":"NaN"}\n', {"type": "train", "x": math.nan}),
    "huge integer": (b'{"type":"train","x":' + b"9" * 30 + b"}\n",
                     {"type": "train", "x": 1e30}),
    "duplicate keys": (b'{"type":"train","x":1,"x":2}\n', {"type": "train", "x": 2}),
    "no type": (b'{"x":1}\n', {"x": 1}),
    "type is a number": (b'{"type":7,"x":1}\n', {"type": 7, "x": 1}),
    "unknown type": (b'{"type":"lyrics","x":"la"}\n', {"type": "lyrics", "x": "la"}),
    "empty object": (b"{}\n", {}),
    "wandb's keys": (b'{"type":"train","_step":9,"_timestamp":1,"_runtime":2,"_wandb":3}\n',
                     {"type": "train", "_step": 9, "_timestamp": 1, "_runtime": 2, "_wandb": 3}),
    "odd names": ('{"type":"train","":1,"a b/c.d":2,"ключ":3,"a\\u0000b":4}\n'.encode(),
                  {"type": "train", "": 1, "a b/c.d": 2, "ключ": 3, "a\x00b": 4}),
    "a second config that is no object": (b'{"type":"config","run_id":"other","config":5}\n',
                                          {"type": "config", "run_id": "other", "config": 5}),
    "a second config without a run": (b'{"type":"config"}\n', {"type": "config"}),
    "an end without a status": (b'{"type":"end"}\n', {"type": "end"}),
    "a broken end": (b'{"type":"end","status":[1],"exit_code":"x"}\n',
                     {"type": "end", "status": [1], "exit_code": "x"}),
    "a broken epoch": (b'{"type":"epoch_summary","train_metrics":7,"epoch":{"a":1}}\n',
                       {"type": "epoch_summary", "train_metrics": 7, "epoch": {"a": 1}}),
    "media that is nowhere": (b'{"type":"media","key":"k","path":"../../etc/passwd"}\n', OUTSIDE),
    "a broken timestamp": (b'{"type":"train","timestamp":{"a":[]},"step":null}\n',
                           {"type": "train", "timestamp": {"a": []}, "step": None}),
    "a timestamp past all years": (b'{"type":"train","timestamp":1e300}\n',
                                   {"type": "train", "timestamp": 1e300}),
}  # fmt: skip
PIECES = [Piece(raw, None) for raw in BAD.values()] + [Piece(*pair) for pair in ODD.values()]
FIRST = {
    "config": config_line(),
    "config after a BOM": b"\xef\xbb\xbf" + config_line(),
    "config with CRLF": config_line().rstrip(b"\n") + b"\r\n",
    "config that is no object": config_line(config=[1, 2]),
    "config without a run id": b'{"type":"config","config":{}}\n',
    "no config": train_line(0),
    "bad": b"{torn\n",
    "blank": b"\n",
    "over-long": b"x" * (5 << 19) + b"\n",
}

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats() | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=9), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@st.composite
def written(draw: st.DrawFn) -> Piece:
    """What a writer makes of any record."""
    record = draw(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=9), values))
    record["type"] = draw(st.sampled_from(["train", "val", "epoch_summary", "x"]))
    try:
        return Piece(encode(record), _as_read(record))
    except BadRecord:
        return Piece(b"\n", {})


def _as_read(value: Any) -> Any:
    """The three strings stand for numbers, wherever they come from."""
    if isinstance(value, dict):
        return {key: _as_read(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_read(item) for item in value]
    return {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}.get(value, value) \
        if isinstance(value, str) else value  # fmt: skip


def same(one: object, other: object) -> bool:
    """Equal, NaN to NaN, whatever the order of keys."""
    return _shown(one) == _shown(other)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return str(sorted((key, _shown(item)) for key, item in value.items()))
    if isinstance(value, list):
        return str([_shown(item) for item in value])
    return repr(float(value)) if type(value) in (int, float) else repr(value)  # type: ignore[arg-type]


@settings(max_examples=60)
@given(
    st.lists(written() | st.sampled_from(PIECES), max_size=14),
    st.lists(st.integers(1, 300), min_size=1, max_size=40),
    st.sampled_from(list(FIRST)),
)
def test_good_records_come_out_once_and_bad_ones_are_kept(
    pieces: list[Piece], cuts: list[int], first: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        here = World(Path(folder))
        here.intact = False  # its own oracle reads as the product does; here are known records
        data = FIRST[first] + b"".join(piece.raw for piece in pieces)
        here.path.touch()
        for start, end in zip([0, *(places := _places(cuts, len(data)))], places, strict=False):
            here.append(data[start:end])
            here.tick(2)
            here.server.deliver(3)
            check(here, pieces, first, whole=False)
        here.run_on()
        check(here, pieces, first, whole=True)
        here.daemon.drop()


def _places(cuts: list[int], length: int) -> list[int]:
    """Where an arbitrary writer's writes end: the last at the end."""
    scale = max(1, length // max(1, sum(cuts)))
    return [min(place * scale, length) for place in accumulate(cuts)] + [length]


def check(here: World, pieces: list[Piece], first: str, *, whole: bool) -> None:
    """Against what the pieces have to come out as."""
    if not here.server.runs:
        assert not whole
        return
    ((run_id, run),) = here.server.runs.items()
    assert len(run.records) == len(pieces) + 1 or not whole
    for place, record in enumerate(run.records):
        assert run.rows[place]["_step"] == place
        if place:
            expected = pieces[place - 1].record
            assert (record is None) is (expected is None), place
            assert record is None or same(record, expected), place
    kept = quarantine.load(here.destination / "quarantine", run_id)
    bad = [place for place, record in enumerate(run.records) if record is None or record == OUTSIDE]
    assert [line.ordinal for line in kept.lines][: len(bad)] == bad
    assert not whole or kept.count == len(bad)


@pytest.mark.parametrize("first", FIRST)
def test_whatever_a_file_begins_with_all_of_it_goes_up(tmp_path: Path, first: str) -> None:
    here = World(tmp_path)
    here.intact = False
    here.append(FIRST[first])
    here.train(3)
    here.run_on()
    check(here, [Piece(b"", json.loads(train_line(step))) for step in range(3)], first, whole=True)
    here.daemon.drop()


def test_files_without_a_config_are_runs_of_their_own_though_they_begin_alike(
    tmp_path: Path,
) -> None:
    here = World(tmp_path)
    here.intact = False  # nobody knows when these began
    for name in "ab":
        (here.logs / f"training_log_{name}.jsonl").write_bytes(b"\n" + train_line(1))
    here.run_on()
    assert sorted(len(run.rows) for run in here.server.runs.values()) == [2, 2]
    here.daemon.drop()


def test_an_empty_file_is_no_run_yet(tmp_path: Path) -> None:
    here = World(tmp_path)
    here.path.touch()
    for _ in range(5):
        here.tick(5)
    assert here.daemon.runs == {}
    assert [run.state for run in here.status().runs] == ["empty"]
    here.append(config_line())
    here.run_on()
    here.whole()
    here.daemon.drop()


@pytest.mark.sdk
@pytest.mark.timeout(patience(90))
def test_bad_and_odd_records_through_the_real_sdk(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "training_log_a.jsonl"
    log.parent.mkdir()
    log.write_bytes(config_line("odd") + b"".join(piece.raw for piece in PIECES) + train_line(5))
    limits = Limits(confirm_first=0.2, count_stable_for=0.1)
    state = Settings(log_dir=(log.parent,), state_dir=tmp_path / "state", limits=limits)
    with WandbServer(tmp_path / "server", entity="team") as server:
        login = Login(server.url, "team", server.key, "test")
        there = WandbDestination(login, limits)
        with build_daemon(state, there, files=[log], once=True) as daemon:
            deadline = time.monotonic() + patience(60)
            while not daemon.done() and time.monotonic() < deadline:
                daemon.tick()
                daemon.wait()
        history = server.history("odd")
        found = server.run("odd")
    assert [row["_step"] for row in history] == list(range(len(PIECES) + 2))
    assert (found["errors"], found["overwrites"]) == ([], [])
    for row, piece in zip(history[1:], PIECES, strict=False):
        assert ("syncd/bad_record" in row) is (piece.record is None)
        for key, value in (piece.record or {}).items():
            if key.startswith("_") or not key:
                assert row[f"record/{key}"] == value
            elif piece.record == {"type": "train", "x": value}:
                assert same(row["x"], value)
    assert history[-1]["train/loss"] == pytest.approx(1 / 6)
    kept = quarantine.load(
        destination_folder(state.state_dir, login.base_url) / "quarantine", "odd"
    )
    assert kept.count == len(BAD) + 1  # a picture whose path leads out of its folder


@needs_trackio
def test_bad_and_odd_records_in_the_local_store(tmp_path: Path) -> None:
    with WandbServer(tmp_path / "server") as server, Rig(tmp_path, server) as rig:
        rig.go_by(LOCAL)
        log = rig.logs / "training_log_a.jsonl"
        pieces = b"".join(piece.raw for piece in PIECES)
        log.write_bytes(config_line("odd") + pieces + train_line(5) + end_line())
        rig.start()
        until(lambda: rig.ended("odd"), f"it is there: {rig.said()}")
        assert rig.confirmed("odd") == len(PIECES) + 3
        code, said, _ = verify(rig, "--json")
        assert code == Exit.OK, said
        assert json.loads(said)["runs"][0]["equal"]
        kept = quarantine.load(rig.state() / "quarantine", "odd")
        assert kept.count == len(BAD) + 1  # a picture whose path leads out of its folder
        assert "Traceback" not in rig.said()

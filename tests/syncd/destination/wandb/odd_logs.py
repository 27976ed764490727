"""Record logs with whatever a file may have in it, one kind of oddness per log."""

from __future__ import annotations

import json
import math
import wave
import zlib
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from PIL import Image

from tests.syncd.destination.wandb.lanes import Log

AT = "2024-01-15T14:30:2{}+00:00"
BIG = 1 << 70


def record(**fields: Any) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def config(run_id: str, **more: Any) -> bytes:
    fields = {
        "type": "config", "schema": 1, "run_id": run_id, "run_name": "a name", "project": "p",
        "created": AT.format(2), "part": "k3x9abc", "config": {"lr": 0.1}, "host": "gpu",
        "argv": ["train.py", "--x"],
    }  # fmt: skip
    return record(**fields | more)


def train(**metrics: Any) -> bytes:
    return record(type="train", timestamp=AT.format(3), step=7, **metrics)


def epoch(**fields: Any) -> bytes:
    return record(type="epoch_summary", timestamp=AT.format(4), **fields)


def media(key: Any, path: Any, kind: Any = "image", caption: Any = "") -> bytes:
    fields = {"key": key, "path": path, "kind": kind, "caption": caption}
    return record(type="media", timestamp=AT.format(5), step=3, **fields)


def end(status: Any = "finished", code: Any = 0) -> bytes:
    return record(type="end", timestamp=AT.format(9), status=status, exit_code=code)


NUMBERS = [
    b'{"type":"train","step":8,"x":18446744073709551615,"y":-9223372036854775808,"z":0.1}\n',
    b'{"type":"train","step":9,"loss":NaN,"m":-Infinity,"n":1E400,"l":[NaN,1e-7]}\n',
    b'{"type":"train","f":1.7976931348623157e308,"g":5e-324,"h":1e16,"i":1e22,"k":1e-7}\n',
    b'{"type":"train","big":' + b"9" * 400 + b"}\n",
    b'{"type":"train","small":-' + b"9" * 30 + b"}\n",
    train(zero=-0.0, big=BIG, exact=9007199254740993, text="NaN", list=[BIG, {"a": BIG}, -BIG]),
    train(true=True, false=False, null=None, whole=2.0),
]
NESTED = [
    train(nest={"x": {"y": 1}, "gone": {}}, empty={}, list=[]),
    train(nest={"x": {"y": None, "z": 2}}, gone=None),
    train(nest=5),
    train(nest={"r": [{}, {"a": {}}, [{"b": {"c": {}}}]]}, deep=[[[[[1]]]]]),
    train(mixed=[1, "a", None, True, {"k": 1}], many=list(range(200))),
    train(fake={"_type": "image-file", "path": "no"}, h={"_type": "histogram", "values": [1]}),
]
KEYS = [
    train(**{"": 1, "/": 2, "a/": 3, "//": 4, "ü": 5, "\0k": 6, "a.b.c": 7, "x" * 500: 8}),
    train(**{"key with space": 1, "k.dot": {"in.ner": 1}, "nest": {"": 1, "_x": 2}}),
    train(_step=3, _timestamp=4, _runtime=9, _wandb={"a": 1}, _x=1, wandb=1),
    train(**{"trainer/step": 5, "trainer/runtime": -4, "attempt": 9, "syncd/part": "x"}),
    b'{"type":"train","a":1,"a":2}\n',
]
LINES = [
    b"\n", b"  {} \n", b"\r\n", b"{broken\n", b"[1,2]\n", b"null\n", b'"text"\n', b"\xff\xfe\n",
    b'{"type":"train","x":"' + b"y" * (1 << 20) + b'"}\n',
    train(lone="\ud800"),
    record(type="lyrics", timestamp=AT.format(3), step=7, text="la\0\u2029", a={"b": {}}),
    record(type=["train"], a=1), record(type=None, a=2), record(a=3), record(_type="image-file"),
]  # fmt: skip
TIMES = [
    record(type="train", timestamp=at, x=1)
    for at in ("2024-01-15T18:00:00", "2024-01-15T18:00:00Z", "2024-01-15T18:00:02+02:00",
               "2024-01-15", "2023-01-01T00:00:00Z", "rubbish", 1705329030.5, 1e300, -5, True, None)
]  # fmt: skip
CONFIGS = [
    config("r", config={"lr": 0.5, "nested": {"a": 1, "b": {}}}, resumed=True),
    config(
        "r",
        resumed=True,
        attempt=7,
        config={
            "nan": math.nan, "inf": math.inf, "big": BIG, "null": None, "empty": {}, "ü": 1,
            "nested": {"a": 2, "c": None, "d": {"e": {}}}, "l": [{}, -math.inf, {"a": {}}, BIG],
            "a.b": {"c.d": 2}, "": 3, "_wandb": 4, "_x": 5, "m": {"_type": "image-file"},
            "wandb_version": 1, "1": 2, "text": "NaN\0", "trainer": "mine", "lr": 0.7,
        },
    ),
    train(x=1),
    config("r", config=[1, 2]), config("r", config=None), config("bad id !", config={"z": 1}),
    record(type="config"),
    train(x=2),
]  # fmt: skip
EPOCHS = [
    epoch(epoch=7, train_loss=None, train_metrics={"train/a": 1, "x": {"y": 2}}, val_metrics={}),
    epoch(epoch=7.0, train_loss=1), epoch(epoch=None), epoch(),
    epoch(epoch="NaN", train_loss="Infinity", tiny=1e-7, x=[1, {}], y={"z": {}}),
    epoch(epoch=1, train_loss=BIG, text="ü\u2028", true=True),
    epoch(epoch="two", train_loss="text", text=2), epoch(epoch=[1]), epoch(epoch={"a": 1}),
]  # fmt: skip


PICTURES = [
    "a.png", "b.jpg", "UP.PNG", "g.gif", "t.tiff", "noext", "odd.xyz", "lie.jpg", "x.", ".png",
    "x[1].p*g", "short.png", "cut.png", "cut.jpg", "text.png", "empty.png", "huge.png",
    "sub/s.png", "sub/../a.png", "dir.png", "none.png", "../x.png", "/etc/hostname", "", ".",
    "a.png\0", "a.png/",
]  # fmt: skip
SOUNDS = ["v.wav", "cut.wav", "noext", "empty.wav", "none.wav", "../y.wav", "a.png", "dir.png"]
MEDIA_KEYS = [
    "a b", "ü/ä", "../up", "/abs", "", "_under", "a//b", 'a:b*c?d<e>|"f', "a\\b", "trail/", "nul\0",
    "%41", "k" * 300, "k" * 99, "/".join(["k" * 200] * 9), "a[1]", "{x}", "./x", "a/./b", "..",
    "/", "e\u0301",
]  # fmt: skip


def write_media(folder: Path) -> None:
    """The files that `PICTURES` and `SOUNDS` name, but for those that are not there."""
    (folder / "sub").mkdir(parents=True)
    (folder / "dir.png").mkdir()
    plain = Image.new("RGB", (3, 2))
    for name in ("a.png", "b.jpg", "UP.PNG", "g.gif", "t.tiff", "sub/s.png"):
        plain.save(folder / name)
    png = (folder / "a.png").read_bytes()
    for name in ("noext", "odd.xyz", "lie.jpg", "x.", ".png", "x[1].p*g"):
        (folder / name).write_bytes(png)
    noise = Image.effect_noise((120, 90), 50).convert("RGB")
    for name in ("cut.png", "cut.jpg"):
        noise.save(folder / name)
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
    (folder / "short.png").write_bytes(png[:45])
    (folder / "huge.png").write_bytes(_a_huge_header(png))
    (folder / "text.png").write_bytes(b"not a picture")
    (folder / "empty.png").touch()
    with wave.open(str(folder / "v.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(160))
    (folder / "cut.wav").write_bytes((folder / "v.wav").read_bytes()[:30])
    (folder / "empty.wav").touch()


def _a_huge_header(png: bytes) -> bytes:
    """A picture that says of itself that it has 20,000 by 20,000 pixels."""
    head = b"IHDR" + (20_000).to_bytes(4) * 2 + png[24:29]
    return png[:12] + head + zlib.crc32(head).to_bytes(4) + png[33:]


def log(run_id: str, lines: list[bytes], folder: Path, *, last: bytes | None = None) -> Log:
    """A log of these lines between a config and an end. It stops for another session in the
    middle where that is asked for by an empty line of bytes."""
    stops = [place + 1 for place, line in enumerate(lines) if not line]
    body = [line for line in lines if line]
    stops = [stop - number for number, stop in enumerate(stops)]
    data = config(run_id) + b"".join(body) + (end() if last is None else last)
    return Log(data, folder, stops)


_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-BIG, BIG), st.text(max_size=5), st.floats(),
    st.sampled_from(["NaN", "Infinity", "{", 1 << 63, -(1 << 63) - 1, 1e22, 1e-7]),
)  # fmt: skip
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
_KEYS = st.one_of(
    st.sampled_from(["", "_step", "_x", "trainer/step", "attempt", "a", "b", "a.b", "a/b"]),
    st.text(max_size=4),
)
_KINDS = st.sampled_from(["train", "val", "train", "epoch_summary", "config", "new", 7])
_TIMES = st.sampled_from([AT.format(1), AT.format(8), "2024-01-15", "", None, 1705329030.5])
RECORDS = st.builds(
    lambda kind, at, fields: record(**{**fields, "type": kind, "timestamp": at}),
    _KINDS,
    _TIMES,
    st.dictionaries(_KEYS, _VALUES, max_size=4),
)
"""Any record; most of them with something odd in it."""

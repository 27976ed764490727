"""Event files, read back as TensorBoard reads them: records of bytes with their lengths."""

from __future__ import annotations

import json
import struct
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.cli import main
from tests.syncd.world import CREATED, config_line, train_line

pytest.importorskip("tensorboardX")


@pytest.fixture
def log(home: Path) -> Path:
    path = home / "training_log_a.jsonl"
    path.write_bytes(config_line() + train_line(1) + train_line(3))
    return path


def export(log: Path, code: int = 0) -> list[Any]:
    assert main(["export", str(log), "--format", "tensorboard", "-o", "tb"]) == code
    (file,) = Path("tb").rglob("events.out.tfevents.*")
    return [event for event in events(file.read_bytes()) if event.HasField("summary")]


def events(data: bytes) -> Iterator[Any]:
    from tensorboardX.proto.event_pb2 import Event

    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        yield Event.FromString(data[at + 12 : at + 12 + length])
        at += 12 + length + 4


def scalars(found: list[Any]) -> list[tuple[str, int, float]]:
    return [
        (value.tag, event.step, value.simple_value)
        for event in found
        for value in event.summary.value
        if value.HasField("simple_value")
    ]


def record(**fields: object) -> bytes:
    return json.dumps({"timestamp": CREATED} | fields).encode() + b"\n"


def append(log: Path, data: bytes) -> None:
    with log.open("ab") as file:
        file.write(data)


def test_metrics_have_their_steps_and_the_times_at_which_they_were_logged(log: Path) -> None:
    later = "2024-01-15T14:30:32.000+00:00"
    append(log, record(type="val", timestamp=later, step=4, **{"val/loss": 2.0}))
    found = export(log)
    assert scalars(found) == [("train/loss", 1, 0.5), ("train/loss", 3, 0.25), ("val/loss", 4, 2)]
    assert found[-1].wall_time - found[0].wall_time == pytest.approx(10)


def test_the_config_is_a_text(log: Path) -> None:
    (config,) = [value for event in export(log) for value in event.summary.value
                 if value.tag.startswith("config")]  # fmt: skip
    assert b'"lr": 0.1' in config.tensor.string_val[0]


def test_an_export_takes_the_place_of_the_one_before_and_of_no_other_file(log: Path) -> None:
    export(log)
    (folder,) = Path("tb").iterdir()
    (folder / "notes.txt").write_text("mine")
    append(log, train_line(5))
    assert len(scalars(export(log))) == 3
    assert sorted(path.suffix for path in folder.iterdir()) == [".karaoke-syncd", ".txt"]


def test_pictures_and_sounds_are_in_it_and_what_is_missing_is_named(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    media = log.parent / "media" / "run-1"
    media.mkdir(parents=True)
    Image.new("RGB", (4, 2)).save(media / "roll.png")
    with wave.open(str(media / "song.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0\0" * 80)
    for name, kind in (("roll.png", "image"), ("song.wav", "audio"), ("gone.png", "image")):
        append(log, record(type="media", step=7, key=f"m/{name}", path=name, kind=kind))
    append(log, record(type="media", step=7, key="m/out", path="../../x.png", kind="image"))
    found = {value.tag: (event.step, value) for event in export(log)
             for value in event.summary.value}  # fmt: skip
    step, picture = found["m/roll.png"]
    assert (step, picture.image.width, picture.image.height) == (7, 4, 2)
    assert picture.image.encoded_image_string == (media / "roll.png").read_bytes()
    assert found["m/song.wav"][1].audio.sample_rate == 8000
    assert not {"m/gone.png", "m/out"} & found.keys()
    err = capsys.readouterr().err
    assert "left out: gone.png is missing: No such file or directory" in err
    assert "left out: ../../x.png is missing: outside of the run's media folder" in err


@pytest.mark.parametrize(("limit", "taken"), [(100, True), (99, False)])
def test_a_file_over_the_limit_of_the_settings_is_named_and_not_read(
    log: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    limit: int,
    taken: bool,
) -> None:
    media = log.parent / "media" / "run-1"
    media.mkdir(parents=True)
    with wave.open(str(media / "song.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(b"\0\0" * 28)  # 100 bytes with the header
    append(log, record(type="media", step=7, key="m", path="song.wav", kind="audio"))
    monkeypatch.setenv("KARAOKE_SYNCD_LARGEST_MEDIA", str(limit))
    found = {value.tag for event in export(log) for value in event.summary.value}
    words = "left out: song.wav is missing: it is larger than media may be"
    assert ("m" in found, words in capsys.readouterr().err) == (taken, not taken)


def test_what_no_event_can_hold_is_named(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    append(log, b"bad\n" + record(type="val", step=10**30, **{"val/loss": 1, "val/f1": "NaN"}))
    assert scalars(export(log))[-1] == ("val/loss", 1 << 62, 1)
    err = capsys.readouterr().err
    assert "left out: 1 bad lines" in err
    assert "left out: val/f1 was NaN or infinite 1 times" in err


@pytest.mark.parametrize("name", ["a/b: c", "../..", "", "\U0001f600" * 100, "\x1b[2J\u202e\0"])
def test_a_name_that_is_none_for_a_folder_stays_within_it(log: Path, name: str) -> None:
    log.write_bytes(config_line(run_name=name) + train_line(1))
    export(log)
    (folder,) = Path("tb").iterdir()
    assert folder.name.endswith("run-1")
    assert [path.name for path in folder.parent.parent.iterdir() if path.name != "tb"] == [log.name]


def test_the_config_has_its_secrets_only_where_they_are_allowed(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write_bytes(config_line(config={"api_key": "abc", "hf_token": "xyz"}) + train_line(1))
    monkeypatch.setenv("KARAOKE_SYNCD_ALLOW_CONFIG_KEYS", "hf_token")
    (text,) = [
        value.tensor.string_val[0].decode()
        for event in export(log)
        for value in event.summary.value
        if value.tag.startswith("config")
    ]
    assert ("abc" in text, "***" in text, "xyz" in text) == (False, True, True)


def test_of_a_step_that_was_logged_again_the_last_attempt_counts(log: Path) -> None:
    again = {"resumed": True, "attempt": 2}
    append(log, config_line(**again) + train_line(2) + train_line(4))
    append(log, config_line(**again | {"attempt": 3}) + train_line(4))
    assert [step for _, step, _ in scalars(export(log))] == [1, 2, 4]


def test_values_of_one_time_are_in_the_order_of_their_steps_and_keys(log: Path) -> None:
    append(log, record(type="train", step=5, b=1, a=2) + record(type="val", step=4, c=3))
    assert scalars(export(log))[2:] == [("c", 4, 3.0), ("a", 5, 2.0), ("b", 5, 1.0)]

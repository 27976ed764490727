"""A record log -> event files for TensorBoard: curves, the config, pictures, sounds (wav).

The events have the trainer's steps and the times at which they were logged. A resumed run has the
values of its last attempt at each step, as in `plot`.
"""

from __future__ import annotations

import heapq
import io
import json
import tempfile
import wave
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from karaoke_train.runlog.legacy import to_document
from karaoke_train.runlog.reader import Line
from karaoke_train.runlog.record_types import RecordType
from karaoke_train.runlog.timestamps import parse_timestamp
from syncd.destination.media_files import missing
from syncd.destination.rows import Media, row
from syncd.errors import SyncError
from syncd.report.curves import STEP, Curve, XAxis, curves
from syncd.report.export import masked
from syncd.source import tailer
from syncd.source.media_folder import PICTURES
from syncd.source.scanner import LogFile

if TYPE_CHECKING:
    from tensorboardX.proto.event_pb2 import Event

SUFFIX: Final = ".karaoke-syncd"  # of our event files, which an export replaces
_LAST_STEP: Final = 1 << 62
_LONGEST: Final = 1 << 30  # bytes of a picture or sound: an event may have twice that
_MAX_NAME: Final = 100  # bytes of the run's name in a folder's
_UNUSABLE: Final = '/<>:"\\|?*'  # in the name of a folder, on one system or another


@dataclass(frozen=True, slots=True)
class Exported:
    """Where the events are, and what of the file is not in them, in words."""

    folder: Path
    left_out: tuple[str, ...]


def export(file: LogFile, folder: Path, allowed: Collection[str] = ()) -> Exported:
    """Write the run's events into a folder of its name within `folder`, in place of those of an
    earlier export. allowed: see `export.masked`. Raises SyncError, OSError."""
    try:
        from tensorboardX.event_file_writer import EventsWriter
    except ImportError:
        raise SyncError(
            "event files are written by tensorboardX, which is not installed",
            meaning="Nothing was written",
            remedy="pip install 'karaoke-train[tensorboard]'",
        ) from None
    file = file._replace(largest_media=min(file.largest_media, _LONGEST))
    target = folder / _folder_name(file)
    target.mkdir(parents=True, exist_ok=True)
    left_out: list[str] = []
    with tempfile.TemporaryDirectory(prefix=".part-", dir=target) as part:
        # the synchronous writer: that of SummaryWriter hands events to a thread, where a full disk
        # is nobody's error
        with closing(EventsWriter(f"{part}/events", SUFFIX)) as writer:
            for event in _events(file, left_out, allowed):
                writer.write_event(event)
        (written,) = Path(part).iterdir()
        for old in target.glob(f"events.out.tfevents.*{SUFFIX}"):
            old.unlink()
        written.replace(target / written.name)
    return Exported(target, tuple(left_out))


def _events(file: LogFile, left_out: list[str], allowed: Collection[str]) -> Iterator[Event]:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.summary import text

    started = parse_timestamp(file.header.created, 0.0)
    records = (masked(line.record or {}, allowed) for line in tailer.each_line(file.path))
    if config := to_document(records)["config"]:
        yield Event(wall_time=started, step=0, summary=text("config", _as_markdown(config)))
    found = curves(tailer.each_line(file.path), started, XAxis.TIME)
    for key, curve in found.items():
        if curve.lost:
            left_out.append(f"{key} was NaN or infinite {curve.lost:,} times")
    for x, step, key, y in heapq.merge(*starmap(_values, found.items())):
        value = Summary.Value(tag=key, simple_value=y)
        yield Event(wall_time=started + x, step=_whole(step), summary=Summary(value=[value]))
    bad = 0
    for line in tailer.each_line(file.path):
        bad += line.record is None
        if line.record and RecordType.of(line.record) is RecordType.MEDIA:
            yield from _media(file, line, started, left_out)
    if bad:
        left_out.append(f"{bad:,} bad lines")


def _values(key: str, curve: Curve) -> Iterator[tuple[float, float, str, float]]:
    for step, x, y in zip(curve.steps, curve.xs, curve.ys, strict=True):
        yield x, step, key, y


def _media(file: LogFile, line: Line, started: float, left_out: list[str]) -> Iterator[Event]:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    values = row(line, started)
    for key, media in values.items():
        if not isinstance(media, Media):
            continue
        try:
            with file.media.open(media.path) as opened:
                data = b"".join(file.media.pieces(opened))
            holds = _sound(data) if media.kind == "audio" else _picture(data)
        except Exception as error:  # a damaged file raises whatever its decoder stumbles over
            left_out.append(missing(media, error))
            continue
        value = Summary.Value(tag=key, **holds)
        yield Event(
            wall_time=values["_timestamp"],
            step=_whole(values.get(STEP)),
            summary=Summary(value=[value]),
        )


def _picture(data: bytes) -> dict[str, Any]:
    from PIL import Image
    from tensorboardX.proto.summary_pb2 import Summary

    with Image.open(io.BytesIO(data), formats=PICTURES) as picture:
        width, height = picture.size
    return {
        "image": Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=data)
    }


def _sound(data: bytes) -> dict[str, Any]:
    from tensorboardX.proto.summary_pb2 import Summary

    with wave.open(io.BytesIO(data)) as sound:
        rate, channels, frames = sound.getframerate(), sound.getnchannels(), sound.getnframes()
    return {
        "audio": Summary.Audio(
            sample_rate=rate,
            num_channels=channels,
            length_frames=frames,
            encoded_audio_string=data,
            content_type="audio/wav",
        )
    }


def _whole(step: object) -> int:
    """The step as an event has it, 64 bits with sign; 0 for what is no number."""
    if not isinstance(step, (int, float)):
        return 0
    return int(max(-_LAST_STEP, min(_LAST_STEP, step)))


def _as_markdown(config: Mapping[str, Any]) -> str:
    """As an indented block, which TensorBoard's text tab shows as it is."""
    text = json.dumps(config, indent=2, ensure_ascii=False, default=str)
    return "".join(f"    {line}\n" for line in text.splitlines())


def _folder_name(file: LogFile) -> str:
    """The run's name as a folder's. Runs of one name are told apart by their ids."""
    name = "".join(
        "-" if c in _UNUSABLE or not c.isprintable() else c for c in file.header.run_name
    )
    name = name.encode()[:_MAX_NAME].decode(errors="ignore").strip(" .")
    return f"{name}-{file.run_id}" if name and name != file.run_id else file.run_id

"""A record log -> event files for TensorBoard: curves, the config, pictures, sounds (wav).

The events have the trainer's steps and the times at which they were logged. A resumed run has the
values of its last attempt at each step, as in `plot`.
"""

from __future__ import annotations

import io
import json
import math
import tempfile
import wave
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from karaoke_train.runlog.format import Record
from karaoke_train.runlog.legacy import merged_config
from karaoke_train.runlog.reader import Line
from karaoke_train.runlog.record_types import RecordType
from karaoke_train.runlog.timestamps import parse_timestamp
from syncd import without
from syncd.destination.media_files import missing
from syncd.destination.rows import Media, attempt_at, row
from syncd.errors import SyncError
from syncd.report.curves import STEP, Back, Point, XAxis, points
from syncd.report.export import masked
from syncd.source import tailer
from syncd.source.media_folder import PICTURES
from syncd.source.scanner import LogFile

if TYPE_CHECKING:
    from tensorboardX.proto.event_pb2 import Event

SUFFIX: Final = ".karaoke-syncd"  # of our event files, which an export replaces
_MOST_AT_ONCE: Final = 100_000  # values of one time that are brought into order
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
        with without.torch():
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
    end = tailer.size_of(file.path)  # what is written from here on is the next export's

    def lines() -> Iterator[Line]:
        return tailer.lines_within(file.path, end)

    seen = _Seen()
    if config := merged_config(seen.records(lines(), allowed)):
        yield Event(wall_time=started, step=0, summary=text("config", _as_markdown(config)))
    lost: dict[str, int] = {}
    found = _last_attempts(lines, started, resumed=seen.attempt > 1)
    for key, step, x, y in _in_order(found, lost):
        value = Summary.Value(tag=key, simple_value=y)
        yield Event(wall_time=started + x, step=_whole(step), summary=Summary(value=[value]))
    left_out += [f"{key} was NaN or infinite {count:,} times" for key, count in lost.items()]
    for line in lines() if seen.media else ():
        if line.record and RecordType.of(line.record) is RecordType.MEDIA:
            yield from _media(file, line, started, left_out)
    if seen.bad:
        left_out.append(f"{seen.bad:,} bad lines")


@dataclass(slots=True)
class _Seen:
    """What a first look finds: bad lines, the last attempt, whether there is a picture or sound."""

    bad: int = 0
    attempt: int = 1
    media: bool = False

    def records(self, lines: Iterable[Line], allowed: Collection[str]) -> Iterator[Record]:
        for line in lines:
            self.attempt = attempt_at(line, self.attempt)
            self.bad += line.record is None
            if line.record:
                self.media |= RecordType.of(line.record) is RecordType.MEDIA
                yield masked(line.record, allowed)


def _last_attempts(
    lines: Callable[[], Iterator[Line]], started: float, *, resumed: bool
) -> Iterator[Point]:
    """Of each step the values of its last attempt. lines: the run's, from the first at each call.
    resumed: whether it has several attempts."""
    # Where the run went back is found out first: what may be replaced later is all of it, and a run
    # of gigabytes has more values than the memory
    first_look = points(lines(), started, XAxis.TIME) if resumed else ()
    back = deque((at, one.step) for at, one in enumerate(first_look) if isinstance(one, Back))
    until = _lowest(back)
    for at, one in enumerate(points(lines(), started, XAxis.TIME)):
        if isinstance(one, Back):
            while back and back[0][0] <= at:
                back.popleft()
            until = _lowest(back)
        elif one.step < until:
            yield one


def _lowest(back: Iterable[tuple[int, float]]) -> float:
    return min((step for _, step in back), default=math.inf)


def _in_order(found: Iterable[Point], lost: dict[str, int]) -> Iterator[Point]:
    """The finite values by time, step and key; how many of each key are others goes into `lost`.
    What is in the file's order is so by time already."""
    at, same = math.nan, list[Point]()
    for point in found:
        if not math.isfinite(point.y):
            lost[point.key] = lost.get(point.key, 0) + 1
            continue
        if point.x != at or len(same) > _MOST_AT_ONCE:
            yield from sorted(same, key=_by_step_and_key)
            at, same = point.x, []
        same.append(point)
    yield from sorted(same, key=_by_step_and_key)


def _by_step_and_key(point: Point) -> tuple[float, str]:
    return point.step, point.key


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

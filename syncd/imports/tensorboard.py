"""A folder of TensorBoard's event files -> a run: curves, pictures, sounds, hyperparameters.

The framing is TFRecord's: length (8 bytes), its checksum (4), the event, its checksum (4).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from karaoke_train.runlog.format import Record
from karaoke_train.runlog.record_types import RecordType
from syncd import without
from syncd.errors import SyncError
from syncd.imports.fields import record_of
from syncd.imports.foreign_run import ForeignRun, MediaData
from syncd.source.safe_open import is_strangers_link

if TYPE_CHECKING:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

PATTERN: Final = "*tfevents*"
_LENGTH: Final = struct.Struct("<QI")
_LONGEST: Final = 256 << 20  # bytes of an event, which is held whole; more is a damaged length
_DELTA: Final = 0xA282EAD8  # TFRecord masks its checksums with it
_FLOAT, _DOUBLE = 1, 2  # DataType
_TAKEN: Final = ("step", "timestamp", "type")  # what the event itself says
_SESSION: Final = "_hparams_/session_start_info"
_SUFFIXES: Final = {b"\x89PNG": ".png", b"\xff\xd8\xff\xe0": ".jpg", b"GIF8": ".gif"}


def read(folder: Path, name: str) -> ForeignRun:
    """The event files of one folder, which is what TensorBoard calls a run, by their names, which
    begin with the time that they were made. Raises SyncError, OSError."""
    try:
        with without.torch():
            import tensorboardX.proto.event_pb2  # noqa: F401
    except ImportError:
        raise SyncError(
            "event files are read by tensorboardX, which is not installed",
            where=str(folder),
            meaning="Nothing of it was imported",
            remedy="pip install 'karaoke-train[tensorboard]'",
        ) from None
    there = (path for path in folder.glob(PATTERN) if not is_strangers_link(path))
    files = sorted(path for path in there if path.is_file())
    return ForeignRun(folder, name, lambda run: _records(run, files))


def _records(run: ForeignRun, files: list[Path]) -> Iterator[Record]:
    """A record per step: what follows one another with the same step belongs together."""
    values = _values(run, files)
    for step, found in groupby(values, key=lambda value: value[0]):
        scalars: dict[str, Any] = {}
        first = 0.0
        for _, time, tag, value in found:
            media = isinstance(value, MediaData)
            if scalars and (media or tag in scalars):  # in the files' order, whatever comes later
                yield _record(step, first, scalars)
                scalars = {}
            if media:
                yield _media(step, time, tag, value)
                continue
            first = first if scalars else time
            scalars[tag] = value
        if scalars:
            yield _record(step, first, scalars)


def _record(step: int, time: float, scalars: dict[str, Any]) -> Record:
    named = {f"train/{tag}" if tag in _TAKEN else tag: value for tag, value in scalars.items()}
    return record_of({**named, "step": step, "timestamp": time})


def _media(step: int, time: float, tag: str, media: MediaData) -> Record:
    kind = "audio" if media.suffix == ".wav" else "image"
    place = record_of({"step": step, "timestamp": time, "type": "train"})
    return {**place, "type": RecordType.MEDIA, "key": tag, "path": media, "kind": kind}


def _values(run: ForeignRun, files: list[Path]) -> Iterator[tuple[int, float, str, Any]]:
    for path in files:
        for event in _events(run, path):
            for value in event.summary.value:
                if value.tag == _SESSION:
                    run.config = {**run.config, **_hparams(run, value)}
                    continue
                found = _value(value)
                if found is not None:
                    yield int(event.step), event.wall_time, value.tag, found
                elif not value.tag.startswith("_hparams_/"):
                    run.left_out[_kind(value)] += 1


def _events(run: ForeignRun, path: Path) -> Iterator[Event]:
    """The events of a file, up to where it is torn or damaged."""
    from google.protobuf.message import DecodeError
    from tensorboardX.proto.event_pb2 import Event

    with path.open("rb") as file:
        while head := file.read(_LENGTH.size):
            try:
                yield Event.FromString(_body(file, head))
            except (ValueError, DecodeError):
                run.left_out[f"what follows a damaged place of {path.name}"] += 1
                return


def _body(file: BinaryIO, head: bytes) -> bytes:
    """The event behind its length. Raises ValueError for a torn one, or no length."""
    from tensorboardX.crc32c import crc32c

    if len(head) < _LENGTH.size:
        raise ValueError("torn")
    length, masked = _LENGTH.unpack(head)
    crc = crc32c(head[:8]) & 0xFFFFFFFF
    if length > _LONGEST or masked != (((crc >> 15 | crc << 17) + _DELTA) & 0xFFFFFFFF):
        raise ValueError("no length")
    # The event's own checksum, in Python alone, would take longer than all else: what is damaged
    # there is no event mostly
    data = file.read(length)
    if len(data) < length or len(file.read(4)) < 4:
        raise ValueError("torn")
    return data


def _value(value: Summary.Value) -> Any:
    """A number, a picture or a sound; None for anything else."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return value.simple_value
    if kind == "image":
        data = value.image.encoded_image_string
        return MediaData(data, _SUFFIXES.get(data[:4], ".png"))
    if kind == "audio":
        return MediaData(value.audio.encoded_audio_string, ".wav")
    if kind == "tensor" and value.metadata.plugin_data.plugin_name in ("scalars", ""):
        return _of_tensor(value.tensor)
    return None


def _of_tensor(tensor: Any) -> float | None:
    """TensorFlow 2 has its scalars as tensors without a dimension."""
    if tensor.dtype not in (_FLOAT, _DOUBLE) or len(tensor.tensor_shape.dim):
        return None
    typed = tensor.float_val if tensor.dtype == _FLOAT else tensor.double_val
    if typed:
        return float(typed[0])
    form = "<f" if tensor.dtype == _FLOAT else "<d"
    content: bytes = tensor.tensor_content
    return float(struct.unpack(form, content)[0]) if len(content) == struct.calcsize(form) else None


def _kind(value: Summary.Value) -> str:
    plugin = value.metadata.plugin_data.plugin_name
    words = {"histo": "histograms", "histograms": "histograms", "text": "texts"}
    return words.get(plugin or value.WhichOneof("value") or "", plugin or "values of another kind")


def _hparams(run: ForeignRun, value: Summary.Value) -> dict[str, Any]:
    from google.protobuf.message import DecodeError
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    try:
        data = HParamsPluginData.FromString(value.metadata.plugin_data.content)
    except DecodeError:
        run.left_out["hyperparameters that are damaged"] += 1
        return {}
    found = data.session_start_info.hparams
    kinds = {name: one.WhichOneof("kind") for name, one in found.items()}
    return {name: getattr(found[name], kind) for name, kind in kinds.items() if kind}

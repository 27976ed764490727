"""A run's lines into the local store. What `send` hands over is kept when it returns, in one
transaction; the count that confirms it is the store's own all the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from karaoke_train.runlog.format import Record
from karaoke_train.runlog.reader import Line
from karaoke_train.runlog.secrets import cut_config
from karaoke_train.runlog.timestamps import parse_timestamp
from syncd import memory
from syncd.destination.base import Labels, Outcome, Target
from syncd.destination.media_files import check_format, missing
from syncd.destination.rows import ATTEMPT, RUNTIME, Media, attempt_at, row
from syncd.destination.trackio import names
from syncd.destination.trackio.store import MEDIA, NewRow, Store
from syncd.errors import Connection, RunTrouble, Unreachable, UploadError
from syncd.source.lines import Lines, special_lines

STEP: Final = "trainer/step"
MOST: Final = 5000  # lines of one transaction: about a second
MANY: Final = 500  # lines, or bytes: what a live run does not have in a second
MANY_BYTES: Final = 256 << 10
EVERY: Final = 1.0  # seconds between a live run's transactions
RUNNING: Final = "running"
ROW: Final = "syncd/row"  # where a row's own marks are in the store
_NO_METRICS: Final = frozenset({ATTEMPT, RUNTIME, STEP, "end/exit_code", "end/status"})
_AUDIO: Final = "trackio.audio"
_IMAGE: Final = "trackio.image"
_BIGGEST: Final = (1 << 63) - 1  # of SQLite's integers


class TrackioUploader:
    """See `syncd.destination.base.Uploader`."""

    ahead = 0
    most = MOST
    stopped = False
    rewinds = True
    files = 0  # they go with their rows

    def __init__(self, target: Target, store: Store) -> None:
        self._target = target
        self._store = store
        self._run = (target.project, target.header.run_id)
        self._started = parse_timestamp(target.header.created, 0.0)
        self._attempt = target.attempt
        self._step = 0  # of the newest row that had one
        self._told = False  # whether the config is kept
        self._many = True  # of what was sent last
        self._dead = False

    def open(self) -> int:
        """Begin. Returns the store's count of the run."""
        self._store.check()
        count = self.confirm()
        self._step = self._store.last_step(*self._run)
        if self._store.state(*self._run) not in ("", RUNNING):
            self._store.set_state(*self._run, RUNNING)
        return count

    def send(self, lines: Lines) -> Sequence[Line]:
        """Keep the next lines."""
        self._alive()
        self._many = len(lines) >= MANY or len(lines.data) >= MANY_BYTES
        # Each of hundreds of sessions would hold its config, were it read before its first lines go
        with_config = 0 if self._told else self._target.length
        with memory.for_lines(len(lines.data) + with_config, len(lines)):
            config = {} if self._told else config_of(self._target)
            parsed = list(lines)
            rows = [self._row(line) for line in parsed]
            project, run_id = self._run
            self._store.add(project, self._target.header.run_name, run_id, rows, config)
            self._told = True
            return special_lines(parsed)

    def bring(self) -> None:
        """Nothing is left for it."""

    def rewind(self, ordinal: int, attempt: int) -> None:
        """Go back. Rows that are there stay as they are."""
        self._attempt = attempt

    def pause(self) -> float:
        """None while there is a backlog. A live run's lines go together: a transaction takes about
        as long for one of them as for hundreds."""
        return 0.0 if self._many else EVERY

    def confirm(self) -> int:
        """How many rows the store has."""
        self._alive()
        return self._store.count(*self._run)

    def stalled(self, first: int, sent: int) -> UploadError:
        """Something takes rows away as they come."""
        return RunTrouble(
            f"the local store has {first:,} of the {sent:,} records that it took",
            meaning="The records are safe on disk; the session is opened anew",
        )

    def close(
        self, outcome: Outcome | None, epochs: Iterable[Record], media: Iterable[Line] = ()
    ) -> None:
        """End the session, and with an outcome the run. Epochs are in its history; the files of
        pictures and sounds came with their rows, and those that are gone since come again."""
        self._alive()
        for line in media:
            for value in row(line, self._started).values():
                if isinstance(value, Media):
                    self._reference(value, line.at.ordinal)
        if outcome is not None and outcome.told:
            state = "finished" if outcome.code == 0 else "failed"
            self._store.set_state(*self._run, state)
        self._dead = True

    def abandon(self) -> None:
        """Nothing is under way between two calls."""
        self._dead = True

    def _alive(self) -> None:
        if self._dead:
            raise Unreachable("the session has ended", kind=Connection.TROUBLE)

    def _row(self, line: Line) -> NewRow:
        self._attempt = attempt_at(line, self._attempt)
        fields = row(line, self._started, self._attempt)
        for key, value in fields.items():
            fields[key] = (
                self._reference(value, line.at.ordinal)
                if isinstance(value, Media)
                else names.untyped(value)
            )
        # A row without a step of its own, an epoch's summary say, stands where the one before does
        step = fields.get(STEP)
        if isinstance(step, (int, float)) and abs(step) <= _BIGGEST:
            self._step = min(int(step), _BIGGEST)
        stamp = fields.pop("_timestamp")
        timestamp, is_exact = _iso(stamp)
        if not is_exact:
            fields["_timestamp"] = stamp
        return NewRow(line.at.ordinal, self._step, timestamp, _apart(fields))

    def _reference(self, media: Media, ordinal: int) -> Any:
        """What the row holds: where the store has the file, or why it can't be had here. Raises
        Unreachable where the store can't keep it: a row that said so would say it for ever."""
        folder = self._target.media
        try:
            digest, _ = folder.digest(media.path)
            with folder.open(media.path) as file:
                if media.kind != "audio":
                    check_format(file)
                    file.seek(0)
                name = names.file_name(digest, media.path)
                path = self._store.media_folder(*self._run) / str(ordinal) / name
                self._store.keep_file(path, folder.pieces(file))
        except UploadError:
            raise
        except Exception as error:  # a damaged picture raises whatever its decoder stumbles over
            return missing(media, error)
        return {
            "_type": _AUDIO if media.kind == "audio" else _IMAGE,
            "file_path": path.relative_to(self._store.folder / MEDIA).as_posix(),
            "caption": media.caption,
            "sha256": digest,
        }


def config_of(target: Target) -> dict[str, Any]:
    """The run's settings and labels, without secrets. Raises OSError."""
    with target.whole() as header:
        allowed = (*target.allowed_keys, *header.allow_config_keys)
        return {**cut_config(header.config, allowed), **as_config(Labels.of(header))}


def as_config(labels: Labels) -> dict[str, Any]:
    """The labels that are given, among a run's settings: trackio has the group there, too, and the
    others nowhere."""
    given = {"_Group": labels.group, "tags": ", ".join(labels.tags)}
    given |= {"job_type": labels.job_type, "notes": labels.notes}
    return {key: value for key, value in given.items() if value}


def as_row(ordinal: int, timestamp: str, metrics: dict[str, Any]) -> dict[str, Any]:
    """A row of the store as a history row, in the words of `syncd.destination.comparison`."""
    stamp = {"_timestamp": parse_timestamp(timestamp, 0.0)}
    fields = {key: _as_logged(value) for key, value in metrics.items() if key != ROW}
    return {"_step": ordinal, **stamp, **fields, **names.typed(metrics.get(ROW, {}))}


def _apart(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The row with what is no metric in a mapping of its own: the dashboard draws every number
    otherwise, and these first."""
    shown: dict[str, Any] = {}
    hidden: dict[str, Any] = {}
    for key, value in fields.items():
        is_hidden = key in _NO_METRICS or key.startswith("syncd/")
        (hidden if is_hidden else shown)[key] = value
    return {**shown, ROW: hidden} if hidden else shown


def _as_logged(value: Any) -> Any:
    kind = value.get("_type") if isinstance(value, dict) else None
    if kind not in (_IMAGE, _AUDIO):
        return names.typed(value)
    return {
        "_type": "audio-file" if kind == _AUDIO else "image-file",
        "caption": value.get("caption"),
        "sha256": value.get("sha256"),
        "path": value.get("file_path"),
    }


@lru_cache(maxsize=64)  # blank and bad lines all have the run's start
def _iso(stamp: float) -> tuple[str, bool]:
    """A time as ISO 8601, and whether the text says all of it: it may be finer or farther off."""
    try:
        text = datetime.fromtimestamp(stamp, UTC).isoformat()
    except (OverflowError, ValueError, OSError):  # a year that there isn't
        text = datetime.fromtimestamp(0, UTC).isoformat()
    return text, parse_timestamp(text, 0.0) == stamp

"""RunLog: metrics in, lines appended to the run's file; the lock is held for the run's life.

A record is in the page cache when `append` returns, so a killed process loses nothing. A thread
of its own calls fsync at most once a second, so training never waits for a disk. Nothing that
happens to the disk stops training: what can't be written waits in a bounded buffer.
"""

from __future__ import annotations

import os
import secrets
import shutil
import string
import sys
import threading
import warnings
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from karaoke_train.runlog.format import (
    DEFAULT_PROJECT,
    FIELDS,
    MAX_LINE,
    RUN_ID,
    SCHEMA,
    BadRecord,
    RunHeader,
    RunLogError,
    decode,
    encode,
)
from karaoke_train.runlog.layout import lock_path, log_name, media_folder
from karaoke_train.runlog.lock import Held, Lock
from karaoke_train.runlog.origin import origin
from karaoke_train.runlog.sink import Sink, locked_for_writing

SYNC_EVERY: Final = 1.0  # seconds between fsyncs at most
STATUSES: Final = ("finished", "failed", "interrupted")


class LogBusy(RunLogError):
    """Another process is writing to this run's file."""


class RunLog:
    """The record log of one run. Make one with `create` or `resume`; use it in a `with` block.

        with RunLog.create("logs", project="voice-to-notes", config={"lr": 3e-4}) as log:
            log.train(step, epoch, {"train/loss": loss})

    Thread-safe. In a distributed run, rank 0 alone has one.
    """

    def __init__(self, header: RunHeader, sink: Sink) -> None:
        self.run_id = header.run_id
        self.run_name = header.run_name
        self.project = header.project
        self._sink = sink
        self._closed = False
        self._wake = threading.Event()
        self._syncer = threading.Thread(target=self._sync_loop, name="runlog-sync", daemon=True)
        self._syncer.start()

    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str] = "logs",
        *,
        project: str = DEFAULT_PROJECT,
        config: Mapping[str, Any] | None = None,
        run_name: str | None = None,
        run_id: str | None = None,
        upload: bool = True,
    ) -> Self:
        """Start a run: a new file `training_log_<local time>.jsonl` in `folder`.

        run_id: 1 to 64 letters, digits, '-' or '_'; made up when left out, and unique for ever.
        upload: False keeps the run off wandb until somebody asks for it by name.
        Raises RunLogError when the folder can't be written to or the run_id isn't one.
        """
        if run_id is not None and not RUN_ID.fullmatch(run_id):
            raise RunLogError(f"run_id {run_id!r} is not 1 to 64 letters, digits, '-' or '_'")
        started = datetime.now().astimezone()
        record = _config_record(
            run_id or _new_id(),
            run_name or f"{project}_{started:%Y%m%d_%H%M%S}",
            project,
            started,
            config,
            upload,
        )
        line = _encoded_config(record)
        try:
            sink = _new_file(Path(folder), started)
        except OSError as error:
            raise RunLogError(
                f"no run log can be written in {folder}: {error.strerror or error}. "
                "Give another folder, or make this one writable."
            ) from None
        log = cls(RunHeader.of(record), sink)
        log._write(line)
        return log

    @classmethod
    def resume(
        cls, path: str | os.PathLike[str], *, config: Mapping[str, Any] | None = None
    ) -> Self:
        """Continue the run in `path`, whose writer is gone; a torn last line is closed off first.

        Writes a further `config` record: the first one's names, with this process's host and
        `config` on top of what was there. Raises LogBusy while another process writes the file,
        RunLogError when there's no run to continue.
        """
        path = Path(path)
        header = read_header(path)
        lock = Lock(lock_path(path))
        try:
            lock.acquire(timeout=1.0)
        except Held as held:
            raise LogBusy(
                f"{path} is being written by {held.holder or 'another process'}. "
                "Its records are safe; stop that process first, or start a run of your own."
            ) from None
        try:
            sink = Sink(path, os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC), lock)
        except OSError as error:
            lock.release()
            raise RunLogError(f"{path} can't be continued: {error.strerror}") from None
        sink.end_torn_line()
        record = _config_record(
            header.run_id,
            header.run_name,
            header.project,
            datetime.now().astimezone(),
            {**header.config, **(config or {})},
            header.upload,
        )
        log = cls(header, sink)
        log._write(_encoded_config(record | {"resumed": True}))
        return log

    @property
    def path(self) -> Path:
        """The run's file."""
        return self._sink.path

    @property
    def media_dir(self) -> Path:
        """Where this run's pictures and sounds are kept."""
        return media_folder(self.path, self.run_id)

    def train(self, step: int, epoch: float, metrics: Mapping[str, Any]) -> None:
        """The metrics of one logging step, as `train/...`."""
        self._metrics("train", step, epoch, metrics)

    def val(self, step: int, epoch: float, metrics: Mapping[str, Any]) -> None:
        """The metrics of one validation, as `val/...`."""
        self._metrics("val", step, epoch, metrics)

    def epoch_summary(
        self,
        epoch: float,
        *,
        train_loss: float | None = None,
        val_loss: float | None = None,
        train_metrics: Mapping[str, Any] | None = None,
        val_metrics: Mapping[str, Any] | None = None,
    ) -> None:
        """What an epoch came to. The disk is asked to keep everything up to here."""
        self.append(
            {
                "type": "epoch_summary",
                "timestamp": _now(),
                "epoch": epoch,
                "train_loss": train_loss,
                "val_loss": val_loss,
                "train_metrics": dict(train_metrics or {}),
                "val_metrics": dict(val_metrics or {}),
            }
        )
        self._wake.set()

    def media(
        self,
        step: int,
        key: str,
        path: str | os.PathLike[str],
        *,
        kind: str = "image",
        caption: str = "",
    ) -> None:
        """A picture or sound (`kind` image or audio). The file is copied into `media_dir`, where
        it has to stay until it's uploaded. One that can't be copied is a warning, no error."""
        source = Path(path)
        target = self.media_dir / f"{key.replace('/', '_')}_{step}{source.suffix}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.resolve() != target.resolve():
                shutil.copyfile(source, target)
        except OSError as error:
            warnings.warn(f"{source} was left out of the run: {error}", stacklevel=2)
            return
        self.append(
            {
                "type": "media",
                "timestamp": _now(),
                "step": step,
                "key": key,
                "path": target.name,
                "kind": kind,
                "caption": caption,
            }
        )

    def append(self, record: Mapping[str, Any]) -> None:
        """One record, one line. Never raises for the disk. Raises RunLogError once closed.

        A record over the line limit is left out with a warning; a short one says so in its place.
        """
        try:
            line = encode(record)
        except BadRecord as error:
            warnings.warn(f"{self.path}: a record was left out: {error}", stacklevel=2)
            kept = {key: record[key] for key in FIELDS if key in record}
            line = encode(kept | {"left_out": str(error)})
        self._write(line)

    def close(self, status: str = "finished", exit_code: int | None = None) -> None:
        """End the run with an `end` record, on disk when this returns. Closing twice is nothing.

        status: finished, failed or interrupted; exit_code: 0, 1 and 130 unless given.
        """
        if self._closed:
            return
        if status not in STATUSES:
            raise RunLogError(f"a run ends as one of {', '.join(STATUSES)}, not {status!r}")
        code = {"finished": 0, "failed": 1, "interrupted": 130}[status]
        self.append(
            {
                "type": "end",
                "timestamp": _now(),
                "status": status,
                "exit_code": code if exit_code is None else exit_code,
            }
        )
        self._closed = True
        self._wake.set()
        self._syncer.join()
        self._sink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None or (isinstance(error, SystemExit) and not error.code):
            self.close("finished")
        else:
            self.close("interrupted" if issubclass(kind, KeyboardInterrupt) else "failed")

    def _metrics(self, kind: str, step: int, epoch: float, metrics: Mapping[str, Any]) -> None:
        own = {"type": kind, "timestamp": _now(), "step": step, "epoch": epoch}
        self.append(own | {key: value for key, value in metrics.items() if key not in own})

    def _write(self, line: bytes) -> None:
        if self._closed:
            raise RunLogError(f"{self.path} is closed: the run has ended")
        self._sink.write(line)

    def _sync_loop(self) -> None:
        while not self._closed:
            self._wake.wait(SYNC_EVERY)
            self._wake.clear()
            self._sink.tend()


def read_header(path: Path) -> RunHeader:
    """The header in a run's first line. Raises RunLogError when there is none."""
    try:
        with path.open("rb") as file:
            return RunHeader.of(decode(file.readline(MAX_LINE + 1)))
    except OSError as error:
        raise RunLogError(f"{path} can't be read: {error.strerror}") from None
    except BadRecord as error:
        raise RunLogError(f"{path} doesn't begin with a run's config record: {error}") from None


def _new_file(folder: Path, started: datetime) -> Sink:
    """A file that nobody else has."""
    folder.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    for attempt in range(10_000):
        path = folder / log_name(started, attempt)
        try:
            descriptor = os.open(path, flags, 0o644)
        except FileExistsError:
            continue
        return Sink(path, descriptor, locked_for_writing(path))
    raise OSError(f"10,000 runs started at {started:%H:%M:%S} already")


def _config_record(
    run_id: str,
    run_name: str,
    project: str,
    started: datetime,
    config: Mapping[str, Any] | None,
    upload: bool,
) -> dict[str, Any]:
    return {
        "type": "config",
        "schema": SCHEMA,
        "run_id": run_id,
        "run_name": run_name,
        "project": project,
        "created": started.isoformat(timespec="milliseconds"),
        "config": dict(config or {}),
        "upload": upload,
        **origin(sys.argv),
    }


def _encoded_config(record: dict[str, Any]) -> bytes:
    try:
        return encode(record)
    except BadRecord as error:
        raise RunLogError(f"this config can't be the run's first line: {error}") from None


def _new_id() -> str:
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(12))


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")

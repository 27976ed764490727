"""RunLog: metrics in, lines appended to the run's file; the lock is held for the run's life.

A record is in the page cache when `append` returns, so a killed process loses nothing. A thread
calls fsync at most once per second, and training does not wait for it. Nothing that happens to the
disk stops training: what can't be written waits in a bounded buffer.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, Self

from karaoke_train.runlog import forks
from karaoke_train.runlog.config_records import (
    config_items,
    config_of,
    config_record,
    further_record,
    line_of,
    relabelled,
    with_added,
)
from karaoke_train.runlog.create import checked_tags, create_file, new_run_id
from karaoke_train.runlog.format import (
    RUN_ID,
    BadRecord,
    RunHeader,
    RunLogError,
    encode,
    encode_what_fits,
)
from karaoke_train.runlog.layout import default_project, media_folder, media_name
from karaoke_train.runlog.lock import LockKind
from karaoke_train.runlog.parts import Resume, part_to_continue, starting
from karaoke_train.runlog.process_end import (
    STATUSES,
    exit_code_of,
    process_end,
    status_of,
    watch_exit,
)
from karaoke_train.runlog.ranks import NoSink, other_rank, tell_other_rank
from karaoke_train.runlog.record_types import RecordType
from karaoke_train.runlog.reopen import Past, read_header, reopen_file
from karaoke_train.runlog.sink import Sink
from karaoke_train.runlog.sync_thread import SyncThread
from karaoke_train.runlog.timestamps import timestamp_now
from karaoke_train.runlog.warn import warn

Config = Mapping[str, Any] | object  # names with values: a mapping, or an object with fields

# Plain texts: of an enum's member orjson asks Python for the value
_TRAIN: Final = str(RecordType.TRAIN.value)
_VAL: Final = str(RecordType.VAL.value)
_NAMED_OTHERWISE: Final = {"id": "run_id", "name": "run_name"}


class RunLog:
    """The record log of one run. Make one with `create` or `resume`; use it in a `with` block.

        with RunLog.create("logs", project="songs", config={"lr": 3e-4}) as log:
            log.train(step, epoch, {"train/loss": loss})

    Thread-safe. Of the ranks of a distributed run, and of a process and its forked children, one
    writes. A process that ends without `close` leaves all its records, and no `end` record.
    """

    def __init__(
        self,
        header: RunHeader,
        sink: Sink | NoSink,
        attempt: int = 1,
        lock: LockKind = LockKind.NONE,
    ) -> None:
        self.run_id = header.run_id
        self.run_name = header.run_name
        # The record log itself may name none; see `default_project`
        self.project = header.project or default_project(sink.path.parent)
        self._header = header  # with the newest config
        self._attempt = attempt
        self._lock_kind = lock
        self._renamed: set[str] = set()  # new names of metrics, told to the user
        self._cannot_go_on = False  # and the user was told
        self._next_step = 0  # of the next record that `log` is not told the step of
        self._pid = forks.pid
        self._in_with = False
        self._ended: str | None = None
        self._goes_on = False  # whether a record after the end is taken, too
        self._at_exit_status: tuple[str, int] | None = None
        self._over = threading.Event()  # the run was closed for good
        # Held while the run is ended, reopened, or its config written anew. Reentrant: a signal
        # handler that ends the run may have interrupted one of these
        self._mutex = threading.RLock()
        self._open(sink)

    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str] = "logs",
        *,
        project: str | None = None,
        config: Config | None = None,
        run_name: str | None = None,
        run_id: str | None = None,
        resume: Literal["allow", "must", "never", "auto"] | bool | None = None,
        upload: bool = True,
        tags: Iterable[str] | None = None,
        group: str = "",
        job_type: str = "",
        notes: str = "",
        allow_config_keys: Iterable[str] = (),
        rank_zero_only: bool = True,
    ) -> Self:
        """Start a run: a new file `training_log_<local time>.jsonl` in `folder`. Or go on with the
        run `run_id`, where the folder has it and no living process writes it, as `resume` does.

        config: a mapping, or an object with fields: a dataclass, an argparse namespace. project:
        left out, it's the folder's name, or that of the folder around `logs`. run_id: 1 to
        64 letters, digits, '-' or '_'; made up when left out, from 60 random bits. resume, as in
        `wandb.init`: "allow", the default, goes on or starts; "must" raises where the run isn't in
        the folder, "never" where it is; "auto" and True are "allow" with a run_id, and refused
        without. upload: False keeps the run off wandb until somebody asks for it by name. tags (1
        to 64 characters each), group, job_type, notes: as in `wandb.init`; of a run that goes on,
        those given take the place of what it had, and its names stay. allow_config_keys: what is
        named like a secret in the config (api_key, hf_token) is written and uploaded as `***`, but
        for these names or patterns. rank_zero_only: a process that its launcher (torchrun, Slurm,
        MPI) calls another rank than 0 is warned once, and gets a log that keeps nothing; False
        gives each its own.

        Raises LogBusy while another process writes the run, and RunLogError when the folder can't
        be written to, the run_id isn't one, or the run that goes on is in another project.
        """
        if run_id is not None and not (isinstance(run_id, str) and RUN_ID.fullmatch(run_id)):
            raise RunLogError(
                f"run_id {run_id!r:.80} is no text of 1 to 64 letters, digits, '-' or '_'. No "
                "run was started; give one that is, or none."
            )
        mode = Resume.of(resume, run_id)
        values = config_of(config)
        place = Path(folder).absolute()
        started = datetime.now().astimezone()
        named = project or default_project(place)
        header = RunHeader(
            run_id=run_id or new_run_id(),
            run_name=run_name or f"{named}_{started:%Y%m%d_%H%M%S}",
            project=named,
            upload=upload,
            part=new_run_id(),
            tags=checked_tags(tags),
            group=group,
            job_type=job_type,
            notes=notes,
            allow_config_keys=tuple(allow_config_keys),
        )
        if rank_zero_only and (rank := other_rank()):
            return cls._of_other_rank(header._replace(config=values), rank)
        if run_id is None:
            return cls._start(place, header._replace(config=values), started)
        with starting(place, run_id):
            found = part_to_continue(place, run_id, mode, project)
            if found is None:
                return cls._start(place, header._replace(config=values), started)
            return cls._continue(found, values, header)

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike[str],
        *,
        config: Config | None = None,
        step: int | None = None,
        tags: Iterable[str] | None = None,
        group: str = "",
        job_type: str = "",
        notes: str = "",
        rank_zero_only: bool = True,
    ) -> Self:
        """Continue the run in `path`, whose writer is gone; a torn last line is ended first.

        Writes a further `config` record: the first one's names, with this process's host and
        `config` on top of what was there. step: the trainer's global step that it goes on from, as
        its checkpoint has it, where earlier attempts may have logged later ones. tags, group,
        job_type, notes: those given take the place of the run's own. rank_zero_only: as for
        `create`. Raises LogBusy while another process writes the file, RunLogError when there's no
        run to continue.
        """
        values = config_of(config)
        if rank_zero_only and (rank := other_rank()):
            try:
                header = read_header(Path(path).absolute())
            except RunLogError:  # on another node's own disk, where rank 0's file is not
                header = RunHeader(run_id=new_run_id(), run_name=Path(path).stem, project="")
            return cls._of_other_rank(header._replace(config={**header.config, **values}), rank)
        given = RunHeader(
            run_id="", run_name="", project="", tags=checked_tags(tags), group=group,
            job_type=job_type, notes=notes,
        )  # fmt: skip
        return cls._continue(Path(path).absolute(), values, given, step)

    @classmethod
    def _start(cls, folder: Path, header: RunHeader, started: datetime) -> Self:
        record = config_record(header, started, lock=LockKind.FLOCK, attempt=1)
        line_of(record)  # raises while there is no file yet that would be left empty
        try:
            sink, lock = create_file(folder, started)
        except OSError as error:
            raise RunLogError(
                f"no run log can be written in {folder}: {error.strerror or error}. "
                "Give another folder, or make this one writable."
            ) from None
        log = cls(header, sink, lock=lock)
        log._write(line_of(record | {"lock": lock}))
        return log

    @classmethod
    def _of_other_rank(cls, header: RunHeader, rank: str) -> Self:
        tell_other_rank(rank)
        return cls(header, NoSink())

    @classmethod
    def _continue(
        cls,
        path: Path,
        config: Mapping[str, Any],
        given: RunHeader | None = None,
        step: int | None = None,
    ) -> Self:
        """Go on with the run in `path`; `given`: labels that take the place of the run's own."""
        first = header = read_header(path)
        attempt, taken = 1, LockKind.NONE

        def next_line(past: Past, lock: LockKind) -> bytes:
            nonlocal attempt, header, taken
            attempt, taken = past.attempt + 1, lock
            header = relabelled(first, past.newest, given)
            more = {"attempt": attempt, "resumed": True}
            if step is not None:
                more["resumed_from_step"] = step
            header = header._replace(config={**past.config, **config})
            return line_of(further_record(header, lock=lock, **more))

        sink = reopen_file(path, next_line)
        return cls(header, sink, attempt, taken)

    if not TYPE_CHECKING:  # a type checker is to find such names by itself

        def __getattr__(self, name: str) -> NoReturn:
            """For who comes from wandb's run: what it is called here, if there is such a thing."""
            here = _NAMED_OTHERWISE.get(name)
            words = f"it is {here} here" if here else "of wandb's run it has config, log and finish"
            words = f"{type(self).__name__!r} object has no attribute {name!r}: {words}"
            raise AttributeError(words, name=name, obj=self)

    @property
    def attempt(self) -> int:
        """1 for a new run, counted up each time that its file is resumed."""
        return self._attempt

    @property
    def config(self) -> dict[str, Any]:
        """The run's config as it is now. What is set in it is added to the run's config, as by
        `update_config`."""
        from karaoke_train.runlog.live_config import LiveConfig  # few ask for it

        return LiveConfig(self._header.config, self.update_config)

    @property
    def ended(self) -> str | None:
        """How the run has ended: finished, failed or interrupted; None while it goes on."""
        return self._ended

    @property
    def is_parents(self) -> bool:
        """Whether this is a forked child of the process whose run it is: it can't write it."""
        return forks.pid != self._pid

    @property
    def path(self) -> Path:
        """The run's file, also after somebody has moved it."""
        return self._sink.path

    @property
    def media_dir(self) -> Path:
        """Where this run's pictures and sounds are kept."""
        return media_folder(self.path, self.run_id)

    def update_config(self, config: Config) -> None:
        """Add to the run's config, equal names replaced, by a further `config` record. What is
        there already is not written again. What can't be written is left out, and of too much for
        a line the longest values, with a warning that names them and says why."""
        self._refuse_in_child()
        with self._mutex:
            # The newest config, which another process may have written, is read by reopening
            if not self.reopen():
                return
            try:
                grown = with_added(self._header, config_items(config), self._further_record)
            except BadRecord as error:
                warn(f"{self.path}: an addition to the config was left out: {error}")
                return
            if grown.left_out:
                what = "; ".join(grown.left_out)
                warn(f"{self.path}: left out of the config: {what}")
            self._header = grown.header
            if grown.line:
                self._write(grown.line)

    def log(
        self, metrics: Mapping[str, Any], step: int | None = None, commit: bool | None = None
    ) -> None:
        """Metrics under their own names, as `wandb.log` takes them: one record.

        step: one more than the last one's unless given; the first is 0. commit: False has the next
        record at the same step, unless told another. A metric `epoch` is the record's epoch. Where
        each name begins with `val` it is a `val` record, else a `train` one.
        """
        self._refuse_in_child()
        with self._mutex:
            at = self._next_step if step is None else _whole(step)
            self._next_step = at if commit is False else at + 1
            names = [str(key) for key in metrics if key != "epoch"]
            val = bool(names) and all(name.startswith("val") for name in names)
            kind = _VAL if val else _TRAIN
            self._metrics(kind, at, None, metrics)

    def train(self, step: int, epoch: float, metrics: Mapping[str, Any]) -> None:
        """The metrics of one logging step, as `train/...`. One that is named like a field of the
        record (`step`, `epoch`, `type`, `timestamp`) is written as `train/step`, and so on."""
        self._metrics(_TRAIN, step, epoch, metrics)

    def val(self, step: int, epoch: float, metrics: Mapping[str, Any]) -> None:
        """The metrics of one validation, as `val/...`; names as with `train`."""
        self._metrics(_VAL, step, epoch, metrics)

    def epoch_summary(
        self,
        epoch: float,
        *,
        train_loss: float | None = None,
        val_loss: float | None = None,
        train_metrics: Mapping[str, Any] | None = None,
        val_metrics: Mapping[str, Any] | None = None,
    ) -> None:
        """The losses and metrics of one epoch. Everything up to here is fsynced soon after."""
        self.append(
            {
                "type": RecordType.EPOCH_SUMMARY,
                "timestamp": timestamp_now(),
                "epoch": epoch,
                "train_loss": train_loss,
                "val_loss": val_loss,
                "train_metrics": dict(train_metrics or {}),
                "val_metrics": dict(val_metrics or {}),
            }
        )
        self._syncing.flush_soon()

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
        it has to stay until it is uploaded. One that can't be copied, or is neither, is a
        warning, no error."""
        if isinstance(self._sink, NoSink):
            return
        if kind not in ("image", "audio") or not isinstance(path, (str, bytes, os.PathLike)):
            given = f"a {type(path).__name__} of kind {kind!r}"
            warn(f"{key} was left out of the run: it takes an image's or audio's path, not {given}")
            return
        source = Path(os.fsdecode(path))
        target = self.media_dir / f"{media_name(key)}_{step}{source.suffix}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.resolve() != target.resolve():
                _copy_whole(source, target)
        except (OSError, ValueError) as error:  # ValueError: a name with a null byte in it
            reason = getattr(error, "strerror", None) or error
            warn(f"{source} was left out of the run: {reason}")
            return
        self.append(
            {
                "type": RecordType.MEDIA,
                "timestamp": timestamp_now(),
                "step": step,
                "key": key,
                "path": target.name,
                "kind": kind,
                "caption": caption,
            }
        )

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record as one line. Never raises for the disk; RunLogError once closed.

        What no line can hold (too long, nested too deep) is left out of the record, whose
        `left_out` says so; and a warning is given.
        """
        try:
            line = encode(record)
        except BadRecord:
            line, left_out = encode_what_fits(record)
            warn(f"{self.path}: left out of a record: {left_out}")
        self._write(line)

    def append_if_open(self, record: Mapping[str, Any]) -> bool:
        """Write one record, unless the run has ended: with this one it does not go on. Whether it
        was written. Raises BadRecord for what is no line, RunLogError in a forked child."""
        self._refuse_in_child()
        return self._sink.write(encode(record))

    def log_system_metrics(self, every: float = 15.0) -> bool:
        """Write a `system` record each so many seconds until the run is closed: CPU, memory, disk
        and network by psutil, GPUs by nvidia-ml-py where that is installed. A thread of low
        priority does it. Returns False, with a warning, without psutil, and on other ranks."""
        if isinstance(self._sink, NoSink):
            return False
        from karaoke_train.runlog import system_metrics

        return system_metrics.start(self.append_if_open, self.path.parent, self._over, every)

    def close(
        self, status: str = "finished", exit_code: int | None = None, *, final: bool = True
    ) -> None:
        """End the run with an `end` record, fsynced when this returns. Closing again does nothing,
        and neither does closing in a forked child.

        status: finished, failed or interrupted; exit_code: 0, 1 and 130 unless given. final: False
        ends the run for now, as a trainer does after each of its stages: the next record goes on
        with it, as `reopen` does. In a `with` block, which ends the run itself, it does nothing.
        """
        if status not in STATUSES:
            raise RunLogError(f"a run ends as one of {', '.join(STATUSES)}, not {status!r}")
        if forks.pid != self._pid or (self._in_with and not final):
            return
        code = STATUSES[status] if exit_code is None else exit_code
        end = {
            "type": RecordType.END,
            "timestamp": timestamp_now(),
            "status": status,
            "exit_code": code,
        }
        with self._mutex:
            if final and self._goes_on and self._ended not in (None, status):
                self.reopen()  # a trainer thought that all was well; whoever called it knows better
            if self._sink.write(encode(end), last=True):
                self._ended, self._goes_on = status, not final
                self._release()
            elif final:
                self._goes_on = False
            if final:
                self._over.set()

    def finish(self, exit_code: int = 0) -> None:
        """End the run by an exit code, as `wandb.finish` does: 0 finished, 130 interrupted, any
        other failed."""
        self.close(*status_of(exit_code))

    def reopen(self) -> bool:
        """Go on with the run after its end, in the same attempt; one that goes on is left alone.
        When the process ends, so does the run. False, and a warning, where it can't be done: the
        file is gone, or another process goes on with it."""
        self._refuse_in_child()
        with self._mutex:
            if self._ended is None:
                return True

            def next_line(past: Past, lock: LockKind) -> bytes:
                self._attempt, self._lock_kind = past.attempt, lock
                self._header = self._header._replace(config=dict(past.config))
                return line_of(self._further_record(self._header))

            sink: Sink | NoSink = NoSink()
            try:
                if not isinstance(self._sink, NoSink):
                    sink = reopen_file(self.path, next_line)
            except RunLogError as error:  # no trouble of the log may end a training
                if not self._cannot_go_on:
                    self._cannot_go_on = True
                    warn(f"what comes after the end of the run is left out: {error}")
                return False
            self._end_with_process(self._ended)
            self._ended = None
            self._open(sink)
            return True

    def end_at_exit(self) -> None:
        """When the process ends and nobody has closed the run, end it as the process ended: failed
        after an exception or a `sys.exit` with a code, else finished."""
        self._end_with_process("finished")

    def __enter__(self) -> Self:
        self._in_with = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._in_with = False
        if isinstance(error, SystemExit):
            self.finish(exit_code_of(error.code))
        elif isinstance(error, KeyboardInterrupt):
            self.close("interrupted")
        else:
            self.close("failed" if error else "finished")

    def _metrics(
        self, kind: str, step: int, epoch: float | None, metrics: Mapping[str, Any]
    ) -> None:
        own = {"type": kind, "timestamp": timestamp_now(), "step": step}
        if epoch is not None:
            own["epoch"] = epoch
        if own.keys().isdisjoint(metrics):
            own.update(metrics)
            self.append(own)
            return
        from karaoke_train.runlog.metric_names import free_names  # for the few that need one

        names = free_names(kind, own, metrics)
        for key, name in sorted(names.items()):
            if name in self._renamed:
                continue
            self._renamed.add(name)
            warn(
                f"{self.path}: the metric {key!r} is written as {name!r}, since `{key}` is a field "
                "of the record itself. Log it under another name to choose that."
            )
        fields = {names.get(key, key): value for key, value in metrics.items()}
        self.append({**fields, **own})

    def _further_record(self, header: RunHeader) -> dict[str, Any]:
        return further_record(header, lock=self._lock_kind, attempt=self._attempt)

    def _write(self, line: bytes) -> None:
        if forks.pid != self._pid:
            self._refuse_in_child()
        # More than once where another thread ends a stage as soon as the run has gone on
        while not self._sink.write(line):
            if not self._goes_on:
                raise RunLogError(
                    f"{self.path} is closed: the run has ended. What was logged before is in it; "
                    "to go on: reopen() it, or RunLog.resume the file."
                )
            if not self.reopen():
                return

    def _end_with_process(self, status: str) -> None:
        watch_exit()
        self._at_exit_status = status, STATUSES[status]

    def _refuse_in_child(self) -> None:
        # Asked before any mutex is touched: fork(2) copies them as they are, and one that another
        # thread of the parent held at that moment is never released in the child
        if forks.pid != self._pid:
            raise RunLogError(
                f"{self.path} belongs to process {self._pid}, not to its forked child "
                f"{forks.pid}. Give the metrics to the parent, or start a run of your own."
            )

    def _open(self, sink: Sink | NoSink) -> None:
        self._sink = sink
        self._syncing = SyncThread(sink)
        atexit.register(self._at_exit)

    def _at_exit(self) -> None:
        """Nobody closed the run: save what can be saved, and end it if that was asked for."""
        if forks.pid == self._pid and self._at_exit_status is not None:
            status, code = process_end()
            # One that had failed before it went on is not finished by the process's good end
            self.close(*(self._at_exit_status if status == "finished" else (status, code)))
        self._release()

    def _release(self) -> None:
        """Save what can be saved and close the file."""
        if forks.pid != self._pid:
            return
        atexit.unregister(self._at_exit)
        self._syncing.close()


def checked_log(given: object) -> RunLog:
    """What a trainer is to log to. Raises TypeError, before the training rather than within it."""
    if not isinstance(given, RunLog):
        raise TypeError(f"a RunLog is needed, as RunLog.create(folder) gives it, and not {given!r}")
    return given


def _whole(step: Any) -> int:
    """The step as a whole number, which a tensor that counts is not. Raises RunLogError."""
    try:
        return int(step)
    except Exception:  # a tensor's own, too
        raise RunLogError(
            f"a step is a whole number, and not {step!r:.80}: this record was not written"
        ) from None


def _copy_whole(source: Path, target: Path) -> None:
    """Copy a file; where that fails, leave no part of it behind."""
    import shutil  # 2 ms of a 37 ms import, for runs with media alone

    try:
        shutil.copyfile(source, target)
    except OSError:
        target.unlink(missing_ok=True)
        raise

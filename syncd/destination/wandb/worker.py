"""The process in which the wandb SDK runs, one session at a time. Where anything is in doubt it
is killed: nothing in it is worth repairing.

A process of its own since the SDK, once in trouble, neither says so nor lets go: after a refused
request it drops what it's given without a word, and a run whose `finish` timed out can't be
opened again in the same process. What was sent and not confirmed is sent again by the next.
"""

from __future__ import annotations

import os
import queue
import shutil
import sys
import tempfile
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from karaoke_train.runlog.plain_text import one_line
from karaoke_train.runlog.secrets import hide
from syncd.destination.base import Labels
from syncd.destination.media_files import check_format, missing
from syncd.destination.rows import AXES, AXIS_KEYS, EPOCH_TABLE, Media
from syncd.destination.wandb.certificates import go_settings
from syncd.destination.wandb.media import file_name
from syncd.failpoints import failpoint
from syncd.source.media_folder import MediaFolder

if TYPE_CHECKING:
    import wandb

STARTS_WITHIN: Final = 300  # seconds; forty were too few at a load of 27, with Nice and IdleIO
TRANSMIT: Final = 1  # seconds between the SDK's requests; whole ones, it cuts off fractions


@dataclass(frozen=True, slots=True)
class Start:
    """Import the SDK and start wandb-core: no server is asked, so how long it takes depends
    on this machine alone. Nothing, where that is done."""


@dataclass(frozen=True, slots=True)
class Open:
    """Open the run, resuming whatever there is of it. Answers the step it goes on from."""

    base_url: str
    key: str = field(repr=False)
    entity: str
    project: str
    run_id: str
    run_name: str
    config: dict[str, Any]
    program: str  # the trainer's
    labels: Labels
    timeout: float


@dataclass(frozen=True, slots=True)
class Log:
    """Log rows, each with its step. media: the folder of what they refer to."""

    rows: Sequence[tuple[int, dict[str, Any]]]
    media: MediaFolder


@dataclass(frozen=True, slots=True)
class ReuploadMedia:
    """Upload the media of these rows again, whose lines are at the server already. Answers how
    many of them can be uploaded at all."""

    rows: Sequence[tuple[int, dict[str, Any]]]
    media: MediaFolder


@dataclass(frozen=True, slots=True)
class Configure:
    """Bring the run's config up to date."""

    config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finish:
    """End the run with an exit code and its epoch table (columns, rows)."""

    exit_code: int
    table: tuple[list[str], list[list[Any]]]


@dataclass(frozen=True, slots=True)
class Leave:
    """Let go of the run, which the server keeps as it is. The worker may open another one then."""


Request = Start | Open | Log | ReuploadMedia | Configure | Finish | Leave


@dataclass(frozen=True, slots=True)
class Failure:
    """A request failed; the words are the SDK's."""

    words: str


class _Sdk:
    """The SDK with at most one run open."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._run: wandb.Run | None = None

    def do(self, request: Request) -> int:
        match request:
            case Start():
                return self._start()
            case Open():
                return self._open(request)
            case Log(rows, media):
                for step, row in rows:
                    failpoint("log.before")
                    with _loaded(step, row, media) as loaded:
                        self._alive().log(loaded, step=step, commit=True)
                    failpoint("log.after")
                return len(rows)
            case ReuploadMedia(rows, media):
                return sum(self._bring(step, row, media) for step, row in rows)
            case Configure(config):
                self._alive().config.update(config, allow_val_change=True)  # type: ignore[no-untyped-call]
                return 0
            case Finish(exit_code, table):
                return self._finish(exit_code, table)
            case Leave():
                return self._leave()

    def _start(self) -> int:
        import wandb

        wandb.setup()
        return 0

    def _open(self, request: Open) -> int:
        import wandb

        hide(request.key)  # before words are cut short, which may go through the middle of it
        failpoint("init.before")
        self._run = wandb.init(
            id=request.run_id,
            name=request.run_name,
            project=request.project,
            entity=request.entity or None,
            config=request.config,
            tags=request.labels.tags or None,
            group=request.labels.group or None,
            job_type=request.labels.job_type or None,
            notes=request.labels.notes or None,
            resume="allow",  # without it the SDK may append the run a second time
            reinit="create_new",
            settings=wandb.Settings(
                base_url=request.base_url,
                api_key=request.key,
                mode="online",
                root_dir=str(self._scratch),
                init_timeout=request.timeout,
                x_file_stream_transmit_interval=TRANSMIT,
                x_skip_transaction_log=True,  # the record log is one already
                program=request.program or None,
                # This machine is not the trainer's: nothing of it belongs into the run
                x_disable_stats=True,
                x_disable_meta=True,
                x_disable_machine_info=True,
                x_save_requirements=False,
                disable_git=True,
                disable_code=True,
                save_code=False,
                console="off",
                silent=True,
            ),
        )
        failpoint("init.after")
        for axis in AXIS_KEYS:
            self._run.define_metric(axis)
        for pattern, axis in AXES.items():
            # step_sync would add the axis to rows that lack it: not what the file says
            self._run.define_metric(pattern, step_metric=axis, step_sync=False)
        return int(self._run.starting_step)

    def _bring(self, step: int, row: dict[str, Any], folder: MediaFolder) -> int:
        with _loaded(step, row, folder) as found:
            loaded = {key: value for key, value in found.items() if _is_media(row[key])}
            usable = {key: value for key, value in loaded.items() if not isinstance(value, str)}
            for key, value in usable.items():
                value.bind_to_run(self._alive(), key, step)  # as logging it does, same name
            return len(usable)

    def _finish(self, exit_code: int, table: tuple[list[str], list[list[Any]]]) -> int:
        columns, rows = table
        if rows:  # in the summary: a logged one would take a line of the history
            self._alive().summary[EPOCH_TABLE] = _table([*columns], rows)
        failpoint("finish.before")
        self._alive().finish(exit_code=exit_code)
        failpoint("finish.after")
        self._run = None
        shutil.rmtree(self._scratch / "wandb", ignore_errors=True)
        return 0

    def _leave(self) -> int:
        """What `finish` does, but for the record of the exit: without it wandb-core sends what it
        has, and then nothing more of the run, no heartbeat either. The setting for that,
        x_update_finish_state, is read when the run is opened, and how it ends is not known then.

        By the SDK's private names, and piece by piece: one that is no longer there fails, and the
        process is killed, where a `finish` with a part replaced would end the run."""
        run = self._alive()
        if run._run_status_checker is not None:
            run._run_status_checker.stop()  # it would go on asking whether to stop
        assert run._wl is not None
        run._wl.assert_service().inform_finish(run_id=run.id)
        run._wl.remove_active_run(run)
        run._is_finished = True
        self._run = None
        shutil.rmtree(self._scratch / "wandb", ignore_errors=True)
        return 0

    def _alive(self) -> wandb.Run:
        if self._run is None:
            raise RuntimeError("no run is open")
        return self._run


def _table(columns: list[str | int], rows: list[list[Any]]) -> wandb.Table:
    import wandb

    try:
        return wandb.Table(columns=columns, data=rows)
    except TypeError:  # a foreign file may have a number in one epoch, and a text in the next
        return wandb.Table(columns=columns, data=rows, allow_mixed_types=True)


def _is_media(value: object) -> bool:
    return isinstance(value, Media)


@contextmanager
def _loaded(
    step: int, row: dict[str, Any], folder: MediaFolder
) -> Generator[dict[str, Any], None, None]:
    """The row with its pictures and sounds, as long as their copies are there."""
    if not any(map(_is_media, row.values())):
        yield row
        return
    with tempfile.TemporaryDirectory(prefix="media-") as copies:
        yield {
            key: _media(step, key, value, folder, copies) if isinstance(value, Media) else value
            for key, value in row.items()
        }


def _media(step: int, key: str, media: Media, folder: MediaFolder, copies: str) -> Any:
    """The picture or sound; where it can't be had, words in its place, for the row has to be."""
    import wandb

    try:
        # A copy: the SDK opens by the name, which may be another file's, or a link, by then
        path = _copied(folder, media.path, Path(tempfile.mkdtemp(dir=copies)))
        if media.kind != "audio":
            check_format(path)
        make = wandb.Audio if media.kind == "audio" else wandb.Image
        made = make(str(path), caption=media.caption or None)
        file_name(key, step, "0" * 20, path)  # the SDK would fail with it later, for the whole row
        return made
    except Exception as error:
        return missing(media, error)


def _copied(folder: MediaFolder, name: str, place: Path) -> Path:
    target = place / Path(name).name
    with folder.open(name) as source, target.open("wb") as copy:
        copy.writelines(folder.pieces(source))
    return target


def main() -> None:
    """Serve requests from the descriptor in the first argument; the second is a scratch folder."""
    connection, scratch = Connection(int(sys.argv[1])), Path(sys.argv[2])
    isolate_environment(scratch)
    inbox: queue.SimpleQueue[Request] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, inbox, scratch), daemon=True).start()
    sdk = _Sdk(scratch)
    while True:
        request = inbox.get()
        try:
            answer: int | Failure = sdk.do(request)
        except Exception as error:
            answer = Failure(one_line(f"{type(error).__name__}: {error}", 500))
        connection.send(answer)


def isolate_environment(scratch: Path) -> None:
    """Keep whatever the SDK writes in the scratch folder, and the user's wandb settings, which are
    meant for training, from changing what we ask for."""
    kept = {"WANDB_HTTP_TIMEOUT", "WANDB_X_EXTRA_HTTP_HEADERS"}
    for name in [name for name in os.environ if name.startswith("WANDB_") and name not in kept]:
        del os.environ[name]
    # TMPDIR, since the SDK leaves three folders there when it's killed
    places = ("CACHE_DIR", "DATA_DIR", "CONFIG_DIR", "ARTIFACT_DIR")
    for name in ("TMPDIR", *(f"WANDB_{place}" for place in places)):
        os.environ[name] = str(scratch)
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    os.environ["WANDB_X_SERVICE_WAIT"] = str(STARTS_WITHIN)  # for wandb-core; its default is 30
    os.environ["NETRC"] = os.devnull
    os.environ.update(go_settings())


def _listen(connection: Connection, inbox: queue.SimpleQueue[Request], scratch: Path) -> None:
    """Take requests until the daemon is gone. The process then ends at once, since what it has not
    sent is in the file."""
    while True:
        try:
            inbox.put(connection.recv())
        except (EOFError, OSError):
            shutil.rmtree(scratch, ignore_errors=True)
            os._exit(0)

"""trackio's store on this machine: rows in, rows and counts out. The one place that imports it.

Its public `log` takes no time of its own, so what is used here is its storage class, which is
internal: hence one minor version alone, checked together with the functions before anything else.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from karaoke_train.runlog.folder_sync import sync_folder
from syncd.destination.trackio import names
from syncd.destination.trackio.names import log_id, project_name
from syncd.errors import Connection, Refused, RunTrouble, Unreachable

VERSION: Final = "0.43"  # whose storage was looked at; pyproject.toml has it, too
_USED: Final = {  # function of the storage -> what it has to take
    "init_db": {"project"},
    "bulk_log": {"project", "run", "metrics_list", "steps", "timestamps", "config", "log_ids",
                 "run_id"},
    "get_project_db_path": {"project"},
    "get_project_metadata": {"project", "key"},
    "set_project_metadata": {"project", "key", "value"},
}  # fmt: skip
MEDIA: Final = "media"  # the folder of pictures and sounds in the store's
_REMEDY: Final = "pip install 'karaoke-train[local]'"
_ALONE: Final = {  # what it is built on asks no other host, and tells none
    "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "GRADIO_ANALYTICS_ENABLED": "False",
}  # fmt: skip
_WAIT: Final = 10.0  # seconds for another process that writes, as trackio itself waits
# by their place in the file; what follows the last colon of a row's id is its line
_ROWS: Final = """
SELECT CAST(substr(log_id, ?) AS INTEGER) AS line, timestamp, metrics FROM metrics
WHERE run_id = ? AND log_id LIKE ? || ':%' AND line >= ? AND line < ? ORDER BY line
"""
_LAST: Final = 1 << 62
_DAMAGED: Final = ("file is not a database", "malformed")  # as SQLite says it
_REMEDIES: Final = (  # what SQLite or the system says -> what to do; the rest follows by itself
    ("full", "Make room on its disk"),
    ("No space left", "Make room on its disk"),
    ("disk I/O error", "See whether its disk is full, or fails"),
    ("readonly", "Make it writable"),
    ("Read-only", "Make it writable; for a service, run `karaoke-syncd service install` again"),
    ("Permission denied", "Make it writable"),
)


@dataclass(frozen=True, slots=True)
class NewRow:
    """A row as the store takes it. step: what the dashboard draws over; timestamp: ISO 8601."""

    ordinal: int
    step: int
    timestamp: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """A row as the store has it."""

    ordinal: int
    timestamp: str
    metrics: Mapping[str, Any]


class Store:
    """The store in a folder. Everything fails with Refused where trackio is missing or another
    version, with Unreachable where the folder or a database can't be used by now, and with
    RunTrouble where a project's database is damaged, which holds back no other project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writing = threading.Lock()  # trackio's own lock asks ten times per second
        self._ready: set[str] = set()
        self._loaded: Any = None

    def check(self) -> None:
        """Whether it can be used. Raises Refused, Unreachable."""
        with self._in_words():
            self._storage()
            self.folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self.folder, os.W_OK):
                raise PermissionError(13, "Permission denied", str(self.folder))

    def try_to_write(self) -> None:
        """Whether it takes records, of projects that it has as well; nothing of it is changed.
        Raises Refused, Unreachable."""
        self.check()
        with self._in_words():
            with tempfile.TemporaryFile(dir=self.folder):
                pass
            for path in (*self.folder.glob("*.db*"), *self.folder.glob(f"{MEDIA}/**/")):
                # One that is gone by now was a database's write-ahead log
                if not os.access(path, os.W_OK) and path.exists():
                    raise PermissionError(13, f"Permission denied: {path}")

    def count(self, project: str, run_id: str) -> int:
        """How many rows the run has."""
        asked = "SELECT COUNT(*) FROM metrics WHERE run_id = ?"  # which an index alone can tell
        with self._reading(project) as database:
            return database.execute(asked, (run_id,)).fetchone()[0] if database else 0

    def last_line(self, project: str, run_id: str) -> int:
        """The highest line of the run that it has; 0 without one. Looks at each."""
        asked = "SELECT MAX(CAST(substr(log_id, ?) AS INTEGER)) FROM metrics WHERE run_id = ?"
        with self._reading(project) as database:
            values = (len(run_id) + 2, run_id)
            return database.execute(asked, values).fetchone()[0] or 0 if database else 0

    def add(
        self,
        project: str,
        name: str,
        run_id: str,
        rows: Sequence[NewRow],
        config: Mapping[str, Any],
    ) -> None:
        """Keep the rows, all or none; those that it has already stay as they are."""
        with self._in_words(project), self._writing:
            self._storage().bulk_log(
                project_name(project),
                name,
                [dict(row.metrics) for row in rows],
                steps=[row.step for row in rows],
                timestamps=[row.timestamp for row in rows],
                log_ids=[log_id(run_id, row.ordinal) for row in rows],
                config=dict(config),
                run_id=run_id,
            )

    def update_config(self, project: str, run_id: str, changes: Mapping[str, Any]) -> bool:
        """Change these of the run's settings, and no others. Whether there is such a run."""
        with self._reading(project) as database, self._writing:
            if database is None:
                return False
            asked = "SELECT config FROM configs WHERE run_id = ?"
            found = database.execute(asked, (run_id,)).fetchone()
            if found:
                text = json.dumps(json.loads(found[0]) | dict(changes))
                with database:
                    database.execute("PRAGMA query_only = 0")
                    database.execute(
                        "UPDATE configs SET config = ? WHERE run_id = ?", (text, run_id)
                    )
        return found is not None

    def rows(
        self, project: str, run_id: str, start: int = 0, stop: int = _LAST
    ) -> Iterator[Stored]:
        """Rows by ascending line, start <= line < stop."""
        with self._reading(project) as database:
            if database is None:
                return
            values = (len(run_id) + 2, run_id, run_id, start, stop)
            for line, timestamp, metrics in database.execute(_ROWS, values):
                yield Stored(line, timestamp, json.loads(metrics))

    def last_step(self, project: str, run_id: str) -> int:
        """What the newest row is drawn over; 0 without one."""
        asked = "SELECT step FROM metrics WHERE run_id = ? ORDER BY id DESC LIMIT 1"
        with self._reading(project) as database:
            found = database.execute(asked, (run_id,)).fetchone() if database else None
        return found[0] if found else 0

    def state(self, project: str, run_id: str) -> str:
        """What was last kept of the run's state; empty where nothing was."""
        with self._in_words(project):
            found = self._storage().get_project_metadata(project_name(project), _state_key(run_id))
        return str(found or "")

    def set_state(self, project: str, run_id: str, state: str) -> None:
        """Keep the run's state, in a table for whatever there is of a project: trackio has none."""
        with self._in_words(project), self._writing:
            self._storage().set_project_metadata(project_name(project), _state_key(run_id), state)

    def keep_file(self, path: Path, pieces: Iterable[bytes]) -> None:
        """Keep a file whole, or not at all. path: named by its content, so that sending a line
        again leaves no second file. Raises what going through the pieces raises, as it is."""
        if path.exists():
            return
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with self._in_words():
                path.parent.mkdir(parents=True, exist_ok=True)
                copy = part.open("wb")
            with closing(copy):
                for piece in pieces:
                    with self._in_words():
                        copy.write(piece)
                        copy.flush()
                with self._in_words():
                    os.fsync(copy.fileno())  # its row is kept through a power cut, too
                    part.replace(path)
                    sync_folder(path.parent)
        finally:
            with suppress(OSError):  # where it could not be made, what kept it from that is raised
                part.unlink()

    def media_folder(self, project: str, run_id: str) -> Path:
        """Where the run's pictures and sounds belong, below `media/`: by the run's id, since its
        name may be another run's, too, or no name for a folder."""
        return self.folder / MEDIA / project_name(project) / names.media_folder(run_id)

    def files(self, project: str, run_id: str) -> set[str]:
        """What is there of them, by their paths below `media/`."""
        media = self.folder / MEDIA
        found = self.media_folder(project, run_id).rglob("*")
        return {path.relative_to(media).as_posix() for path in found if path.is_file()}

    @contextmanager
    def _reading(self, project: str) -> Iterator[sqlite3.Connection | None]:
        with self._in_words(project):
            name = project_name(project)
            path = Path(self._storage().get_project_db_path(name))
            if not path.exists():
                yield None
                return
            if name not in self._ready:  # a database of an older version gets its columns
                with self._writing:
                    self._storage().init_db(name)
                self._ready.add(name)
            with closing(sqlite3.connect(path, timeout=_WAIT)) as database:
                database.execute("PRAGMA query_only = 1")
                yield database

    @contextmanager
    def _in_words(self, project: str = "") -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            said = getattr(error, "strerror", None) or str(error)
            what = f"the local store in {self.folder} can't be used: {said}"
            if project and any(words in said for words in _DAMAGED):
                raise RunTrouble(
                    f"{what} ({project_name(project)}.db)",
                    meaning="The records are safe on disk",
                    remedy="Move that file away, and `karaoke-syncd retry` its runs",
                ) from None
            remedy = next((remedy for words, remedy in _REMEDIES if words in said), "")
            raise Unreachable(what, kind=Connection.TROUBLE, remedy=remedy) from None

    def _storage(self) -> Any:
        if self._loaded is None:
            self._loaded = _load(self.folder)
        return self._loaded


def installed() -> str:
    """trackio's version; empty where it is not installed. Does not import it."""
    try:
        return importlib.metadata.version("trackio")
    except importlib.metadata.PackageNotFoundError:
        return ""


def unusable() -> str:
    """What is wrong with the trackio that is installed, as far as its version tells."""
    version = installed()
    if not version:
        return "trackio, which has the local dashboard, is not installed"
    if not f"{version}.".startswith(f"{VERSION}."):
        return f"trackio {version} is installed, and its store is known of {VERSION} alone"
    return ""


def refused(what: str) -> Refused:
    """For the user: what is to be installed."""
    return Refused(what, kind=Connection.REFUSED, remedy=_REMEDY)


def _load(folder: Path) -> Any:
    if what := unusable():
        raise refused(what)
    os.environ["TRACKIO_DIR"] = str(folder)  # read once, when it is imported, as the others here
    os.environ.update(_ALONE)
    # or a power cut could take rows that were counted as there
    os.environ.setdefault("TRACKIO_SQLITE_SYNCHRONOUS", "FULL")
    from trackio import utils
    from trackio.sqlite_storage import SQLiteStorage

    if Path(utils.TRACKIO_DIR) != folder:
        raise refused(f"trackio was loaded with its store in {utils.TRACKIO_DIR}, not {folder}")
    for name, takes in _USED.items():
        there = getattr(SQLiteStorage, name, None)
        if there is None or not takes <= inspect.signature(there).parameters.keys():
            raise refused(f"trackio {installed()} has no `{name}` as it is used here")
    return SQLiteStorage


def _state_key(run_id: str) -> str:
    return f"karaoke-syncd/{run_id}/state"

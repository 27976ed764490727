"""What the W&B stand-in remembers: requests come in as operations, runs and files are the result.

Each run has one append-only journal, ``STATE/runs/ENTITY/PROJECT/RUN/journal.jsonl``; opening the
state folder again replays it, so a restarted (or killed) server knows what it had answered for.
An operation is written to the journal before it is applied, and the reply follows after that.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import shutil
import threading
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from tests.fakes.wandb_world import World

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

HISTORY, EVENTS, OUTPUT, SUMMARY = (
    "wandb-history.jsonl",
    "wandb-events.jsonl",
    "output.log",
    "wandb-summary.json",
)
HOLE = "null"  # in place of a line that nobody sent, where a world accepts gaps
# Made up by the sending library from its own clock at every sending; never ours to compare.
CLOCK_KEYS = frozenset({"_runtime"})

Json = dict[str, Any]


class RefusalError(Exception):
    """The server's answer to a request it will not carry out: an HTTP status and its words; of
    GraphQL, the data that it has beside them."""

    def __init__(
        self,
        status: int,
        message: str,
        headers: Mapping[str, str] | None = None,
        data: Json | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}
        self.data = data


@dataclass(frozen=True, order=True)
class RunKey:
    """Where a run lives: entity, project and run id (wandb calls the id its name)."""

    entity: str
    project: str
    run: str

    @property
    def storage_id(self) -> str:
        """The opaque id that GraphQL hands out and takes back, e.g. by ``Run.delete()``."""
        return base64.b64encode(f"Run:v1:{self.run}:{self.project}:{self.entity}".encode()).decode()

    @classmethod
    def from_storage_id(cls, storage_id: str) -> RunKey:
        """Undo `storage_id`; RefusalError(404) when it is none of ours."""
        try:
            kind, version, run, project, entity = (
                base64.b64decode(storage_id, validate=True).decode().split(":")
            )
        except (binascii.Error, ValueError):
            raise RefusalError(404, f"no run has the id {storage_id!r}") from None
        if (kind, version) != ("Run", "v1"):
            raise RefusalError(404, f"{storage_id!r} is not the id of a run")
        return cls(entity, project, run)

    def folder(self, root: Path) -> Path:
        return root.joinpath(
            *(quote(part, safe="") for part in (self.entity, self.project)),
            quote(self.run, safe=""),
        )


@dataclass
class RunState:
    """One run as the server sees it; lines are kept as the text that was sent."""

    fields: Json = field(default_factory=dict)  # what UpsertBucket set: displayName, tags, …
    config: Json = field(default_factory=dict)
    summary: Json = field(default_factory=dict)
    state: str = "running"
    exit_code: int | None = None
    history: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    output: dict[int, str] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)  # name -> size in bytes
    uploaded: list[str] = field(default_factory=list)
    artifacts: dict[str, Json] = field(default_factory=dict)
    overwrites: list[Json] = field(default_factory=list)
    errors: list[Json] = field(default_factory=list)
    rewrites: int = 0  # lines sent again with equal content
    cursors: dict[str, int] = field(default_factory=dict)  # stream -> where its last post ended
    gaps: list[Json] = field(default_factory=list)  # posts that went elsewhere than they said
    arrivals: list[tuple[float, int]] = field(default_factory=list)  # when, history lines by then
    created_at: float = 0.0
    heartbeat_at: float = 0.0
    deleted: bool = False

    def apply(self, op: Mapping[str, Any]) -> None:
        """Carry out one journalled operation; pure but for this object."""
        at = op["at"]
        match op["op"]:
            case "upsert":
                self.created_at = self.created_at or at
                self._upsert(op["fields"])
            case "lines":
                self.heartbeat_at = at
                self._write(op["file"], op["offset"], op["content"], at)
                if op.get("asked", op["offset"]) != op["offset"]:
                    self.gaps.append({k: op[k] for k in ("file", "asked", "offset", "at")})
            case "beat":
                self.heartbeat_at = at
                self.state, self.exit_code = "running", None
            case "complete":
                self.heartbeat_at = at
                self.exit_code = op["exitcode"]
                self.state = state_after(op["exitcode"])
            case "file":
                self.files[op["name"]] = op["size"]
            case "uploaded":
                self.uploaded += [name for name in op["names"] if name not in self.uploaded]
            case "artifact":
                self.artifacts.setdefault(op["id"], {}).update(op["fields"])
            case "error":
                self.errors.append({k: v for k, v in op.items() if k != "op"})
            case "delete":
                self.deleted = True
            case unknown:
                raise ValueError(f"unknown operation {unknown!r} in a journal")

    def _upsert(self, fields: Mapping[str, Any]) -> None:
        for name, value in fields.items():
            if name == "config":
                self.config = json.loads(value)
            elif name == "summaryMetrics":
                self.summary = json.loads(value)
            elif name == "state":
                self.state = value
            else:
                self.fields[name] = value

    def _write(self, file: str, offset: int, content: list[str], at: float) -> None:
        if file == SUMMARY:
            self.summary = json.loads(content[-1])
        elif file == OUTPUT:
            self.output.update(enumerate(content, offset))
        else:
            lines = self.lines(file)
            self._write_lines(file, lines, offset, content, at)
            self.cursors[file] = offset + len(content)
            if file == HISTORY:
                self.arrivals.append((at, len(self.history)))

    def lines(self, file: str) -> list[str]:
        """The lines of one of the two streams that have places."""
        return self.history if file == HISTORY else self.events

    def count_before(self, moment: float) -> int:
        """How many history lines had come before `moment`, in seconds since the epoch."""
        if not self.arrivals or self.arrivals[-1][0] < moment:
            return len(self.history)
        return next((count for at, count in reversed(self.arrivals) if at < moment), 0)

    def _write_lines(
        self, file: str, lines: list[str], offset: int, content: list[str], at: float
    ) -> None:
        lines += [HOLE] * (offset - len(lines))
        for index, new in enumerate(content, offset):
            if index == len(lines):
                lines.append(new)
            elif lines[index] == HOLE:
                lines[index] = new
            elif same_row(lines[index], new):
                self.rewrites += 1
            else:
                self.overwrites.append(
                    {"file": file, "line": index, "old": lines[index], "new": new, "at": at}
                )
                lines[index] = new


def state_after(exit_code: int) -> str:
    """The state of a completed run, as wandb documents it: 0 is finished, all else failed."""
    return "finished" if exit_code == 0 else "failed"


def same_row(old: str, new: str) -> bool:
    """Equal content, leaving aside what the sending library makes up from its own clock."""
    if old == new:
        return True
    before, after = json.loads(old), json.loads(new)
    return {k: v for k, v in before.items() if k not in CLOCK_KEYS} == {
        k: v for k, v in after.items() if k not in CLOCK_KEYS
    }


def is_row(line: str) -> bool:
    """A JSON object; with the bare NaN and Infinity tokens that the SDK writes and wandb takes."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """All runs of one server, on disk under `root`. Safe to use from several threads."""

    def __init__(self, root: Path, world: World = World.DEFAULT) -> None:
        self.root = root
        self.world = world
        self.lock = threading.RLock()
        self.runs: dict[RunKey, RunState] = {}
        (root / "runs").mkdir(parents=True, exist_ok=True)
        for journal in sorted((root / "runs").glob("*/*/*/journal.jsonl")):
            self._replay(journal)

    def _replay(self, journal: Path) -> None:
        key = RunKey(*(unquote(part) for part in journal.parent.parts[-3:]))
        run = self.runs[key] = RunState()
        data = journal.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) != len(data):  # killed in the middle of a write: it was never answered for
            os.truncate(journal, len(whole))
        for line in whole.splitlines():
            run.apply(json.loads(line))

    def folder(self, key: RunKey) -> Path:
        return key.folder(self.root / "runs")

    def record(self, key: RunKey, op: str, **values: Any) -> RunState:
        """Journal one operation, then apply it."""
        with self.lock:
            entry = {"op": op, "at": time.time(), **values}
            folder = self.folder(key)
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / "journal.jsonl").open("a", encoding="utf-8") as journal:
                journal.write(json.dumps(entry) + "\n")
            run = self.runs.setdefault(key, RunState())
            run.apply(entry)
            return run

    def get(self, key: RunKey) -> RunState | None:
        """The run, or None when there is none (any more)."""
        with self.lock:
            run = self.runs.get(key)
            return None if run is None or run.deleted else run

    def need(self, key: RunKey) -> RunState:
        run = self.get(key)
        if run is None:
            raise RefusalError(404, f"run {key.entity}/{key.project}/{key.run} was not found")
        return run

    def upsert(self, key: RunKey, fields: Mapping[str, Any]) -> tuple[RunState, bool]:
        """Create or change a run: (run, whether it is new). A deleted id is refused for good."""
        with self.lock:
            known = self.runs.get(key)
            if known is not None and known.deleted:
                raise RefusalError(
                    409,
                    f"run {key.entity}/{key.project}/{key.run} was previously created and "
                    "deleted; try a new run name",
                )
            return self.record(key, "upsert", fields=dict(fields)), known is None

    def stream(self, key: RunKey, body: Mapping[str, Any]) -> None:
        """Apply one file_stream request, or nothing of it. Where its lines go is the world's to
        say; RefusalError(400) for a gap where that is strict."""
        with self.lock:
            run = self.need(key)
            chunks = body.get("files") or {}
            for file, chunk in chunks.items():
                self._check(key, run, file, chunk["offset"], chunk["content"])
            for file, chunk in chunks.items():
                self._keep(key, run, file, chunk["offset"], chunk["content"])
            if body.get("uploaded"):
                self.record(key, "uploaded", names=body["uploaded"])
            if body.get("complete"):
                self.record(key, "complete", exitcode=body.get("exitcode") or 0)
            else:
                self._beat(key, run)

    def _keep(self, key: RunKey, run: RunState, file: str, asked: int, content: list[str]) -> None:
        place = asked if file in (OUTPUT, SUMMARY) else self._place(run, file, asked)
        elsewhere = {} if place == asked else {"asked": asked}
        if content:
            self.record(key, "lines", file=file, offset=place, content=content, **elsewhere)

    def _place(self, run: RunState, file: str, asked: int) -> int:
        """The line at which a post for line `asked` is put."""
        count = len(run.lines(file))
        match self.world.offsets:
            case "append":
                return count
            case "cursor":
                return min(asked, run.cursors.get(file, count), count)
            case _:
                return asked

    def _beat(self, key: RunKey, run: RunState) -> None:
        """Any sign of life makes a run `running` again; the journal keeps only the change."""
        if run.state == "running":
            run.heartbeat_at = time.time()
        else:
            self.record(key, "beat")

    def _check(
        self, key: RunKey, run: RunState, file: str, offset: int, content: list[str]
    ) -> None:
        strict = self.world.offsets == "strict" and file in (HISTORY, EVENTS)
        if file not in (HISTORY, EVENTS, OUTPUT, SUMMARY):
            self._refuse(key, 400, f"{file} is no stream this server knows")
        elif strict and offset > (count := len(run.lines(file))):
            self._refuse(
                key, 400, f"{file}: lines from {offset} on, but only {count} are there (a gap)"
            )
        elif file != OUTPUT and not all(is_row(line) for line in content):
            self._refuse(key, 400, f"{file}: a line from {offset} on is no JSON object")

    def _refuse(self, key: RunKey, status: int, message: str) -> None:
        self.record(key, "error", status=status, message=message)
        raise RefusalError(status, message)

    def put_file(self, key: RunKey, name: str, data: bytes) -> None:
        """Keep an uploaded file's bytes."""
        with self.lock:
            path = self.file_path(key, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            self.record(key, "file", name=name, size=len(data))

    def get_file(self, key: RunKey, name: str) -> bytes:
        """An uploaded file's bytes; RefusalError(404) when there is none."""
        if name not in self.need(key).files:
            raise RefusalError(404, f"{key.run} has no file {name}")
        return self.file_path(key, name).read_bytes()

    def file_path(self, key: RunKey, name: str) -> Path:
        return self.folder(key) / "files" / quote(name, safe="")

    def delete(self, key: RunKey) -> None:
        self.need(key)
        self.record(key, "delete")

    def forget(self, key: RunKey) -> None:
        """Remove every trace of a run, as a server does that was set up anew."""
        with self.lock:
            self.runs.pop(key, None)
            shutil.rmtree(self.folder(key), ignore_errors=True)

    def append_foreign(self, key: RunKey, row: Mapping[str, Any]) -> int:
        """Somebody else writes one more history line; returns its place."""
        with self.lock:
            place = len(self.need(key).history)
            self.record(key, "lines", file=HISTORY, offset=place, content=[json.dumps(dict(row))])
            return place

    def dump(self) -> Json:
        """entity -> project -> run -> what is known of it, for assertions."""
        with self.lock:
            out: Json = {}
            for key, run in sorted(self.runs.items()):
                out.setdefault(key.entity, {}).setdefault(key.project, {})[key.run] = dump_run(run)
            return out


def dump_run(run: RunState) -> Json:
    """One run as plain values: history and events as parsed rows, by line; None for a hole."""
    out = asdict(run)
    del out["arrivals"]
    out.update(
        display_name=run.fields.get("displayName"),
        history=rows(run.history),
        events=rows(run.events),
        output=[run.output[n] for n in sorted(run.output)],
        config={
            name: item["value"] if isinstance(item, dict) and "value" in item else item
            for name, item in run.config.items()
        },
    )
    return out


def rows(lines: Iterable[str]) -> list[Json]:
    return [json.loads(line) for line in lines]

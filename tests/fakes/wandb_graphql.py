"""The GraphQL half of the W&B stand-in: an operation's name and variables in, its data out.

Operations are told apart by name, not by parsing their selection: answers hold more fields than
were asked for, which wandb 0.31's clients ignore. A query of another name that asks for one run
(``model { bucket }`` or ``project { run }``, variables entity, project and name) is answered too.
Anything else is refused and kept in `Graphql.unknown`, so that a change of the SDK shows.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.fakes.wandb_limits import Limiter
from tests.fakes.wandb_state import HOLE, Json, RefusalError, RunKey, RunState, Store, iso

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.fakes.faults import Fault
    from tests.fakes.wandb_world import World

BUCKET = re.compile(r"\bmodel\s*\(.*\bbucket\s*\(", re.DOTALL)
PROJECT_RUN = re.compile(r"\bproject\s*\(.*\brun\s*\(", re.DOTALL)
OPERATION = re.compile(r"\b(query|mutation)\s+(\w+)")
STEP = re.compile(r'"_step":\s*(-?\d{1,19})')
UPSERT_FIELDS = (
    "config",
    "summaryMetrics",
    "state",
    "displayName",
    "description",
    "notes",
    "tags",
    "groupName",
    "jobType",
    "host",
    "program",
    "commit",
    "repo",
    "sweep",
)


def operation_name(body: Mapping[str, Any]) -> str:
    """The operation's name, from the request's field or from the query's text; "" if unnamed."""
    found = OPERATION.search(body.get("query") or "")
    return body.get("operationName") or (found.group(2) if found else "")


@dataclass(frozen=True)
class Ask:
    """One operation's variables, where the server was reached, and how stale to answer."""

    variables: Mapping[str, Any]
    url: str
    stale: Fault | None = None

    def __getitem__(self, name: str) -> Any:
        return self.variables[name]

    def get(self, name: str) -> Any:
        return self.variables.get(name)


class Graphql:
    """Answers operations from a Store. `entity` is the one that owns the API key."""

    def __init__(self, store: Store, entity: str, limiter: Limiter | None = None) -> None:
        self.store = store
        self.entity = entity
        self.limiter = limiter or Limiter()
        self.unknown: list[str] = []
        self._operations: dict[str, Callable[[Ask], Json]] = {
            "Viewer": self.viewer,
            "GetViewer": self.viewer,
            "GetDefaultEntity": self.viewer,
            "ServerFeaturesQuery": self.server_features,
            "RunResumeStatus": self.resume_status,
            "UpsertBucket": self.upsert,
            "Run": self.run,
            "RunState": self.run,
            "RunHistoryKeys": self.run,
            "RunParquetHistory": self.parquet_history,
            "HistoryPage": self.history_page,
            "RunFullHistory": self.full_history,
            "DeleteRun": self.delete_run,
            "CreateRunFiles": self.create_run_files,
            "RunFiles": self.run_files,
            "ArtifactType": self.artifact_type,
            "CreateArtifact": self.create_artifact,
            "CreateArtifactManifest": self.artifact_manifest,
            "UpdateArtifactManifest": self.artifact_manifest,
            "CreateArtifactFiles": self.create_artifact_files,
            "CommitArtifact": self.commit_artifact,
        }

    def answer(self, body: Mapping[str, Any], ask: Ask) -> Json:
        """The `data` of one operation; RefusalError when it fails."""
        name = operation_name(body)
        resolve = self._operations.get(name) or self._by_shape(body.get("query") or "")
        if resolve is None:
            self.unknown.append(f"{name}: {body.get('query')}")
            raise RefusalError(400, f"this server knows no operation {name!r}")
        return resolve(ask)

    def _by_shape(self, query: str) -> Callable[[Ask], Json] | None:
        if not query.lstrip().startswith("query"):
            return None
        if BUCKET.search(query):
            return self.resume_status
        return self.run if PROJECT_RUN.search(query) else None

    # --- the account and the server ---

    def viewer(self, _: Ask) -> Json:
        me = {
            "__typename": "User",
            "id": "VXNlcjox",
            "name": self.entity,
            "entity": self.entity,
            "username": self.entity,
            "email": f"{self.entity}@localhost",
            "flags": "{}",
            "admin": False,
            "deletedAt": None,
            "teams": {"edges": [{"node": {"name": self.entity}}]},
            "apiKeys": {"edges": []},
        }
        return {"viewer": me}

    def server_features(self, _: Ask) -> Json:
        features = [{"name": "FILESTREAM_GZIP", "isEnabled": True}] if self.store.world.gzip else []
        return {"serverInfo": {"features": features}}

    # --- runs ---

    def _key(self, ask: Ask, run: str) -> RunKey:
        project = ask.get("project") or "uncategorized"
        return RunKey(ask.get("entity") or self.entity, project, ask[run])

    def resume_status(self, ask: Ask) -> Json:
        key = self._key(ask, "name")
        run = self.store.get(key)
        if run is None and not self.store.world.missing_ok:
            raise RefusalError(
                404,
                f"run {key.entity}/{key.project}/{key.run} was not found",
                data={"model": {**project_fields(key), "bucket": None}},
            )
        bucket = None if run is None else self._fields(key, run, ask)
        return {"model": {**project_fields(key), "bucket": bucket}}

    def upsert(self, ask: Ask) -> Json:
        key = RunKey.from_storage_id(ask["id"]) if ask.get("id") else self._key(ask, "name")
        given = {**ask.variables, "displayName": ask.get("displayName") or ask.get("display_name")}
        fields = {name: given[name] for name in UPSERT_FIELDS if given.get(name) is not None}
        self._limit_new(key)
        run, inserted = self.store.upsert(key, fields)
        return {"upsertBucket": {"bucket": self._fields(key, run, ask), "inserted": inserted}}

    def _limit_new(self, key: RunKey) -> None:
        """RefusalError(429) where the project has had too many new runs."""
        limits = self.store.world.limits
        if limits is None or key in self.store.runs:
            return
        quota = self.limiter.create(limits, key)
        if not quota.passes:
            raise RefusalError(429, "rate limit exceeded", quota.headers())

    def _fields(self, key: RunKey, run: RunState, ask: Ask) -> Json:
        return run_fields(key, run, Shown.of(run, self.store.world, ask.stale))

    def run(self, ask: Ask) -> Json:
        key = self._key(ask, "name" if "name" in ask.variables else "run")
        run = self.store.get(key)
        return {"project": {"run": run and self._fields(key, run, ask)}}

    def parquet_history(self, ask: Ask) -> Json:
        """No exported files here: everything is live, to be had from `history_page`."""
        self.store.need(self._key(ask, "runName"))
        return {"project": {"run": {"parquetHistory": {"parquetUrls": [], "liveData": []}}}}

    def history_page(self, ask: Ask) -> Json:
        """Rows with minStep <= _step < maxStep, at most pageSize, as wandb's scan wants them."""
        run = self.store.need(self._key(ask, "run"))
        first, last = ask["minStep"], ask["maxStep"]
        lines = (line for line in run.history if line != HOLE)
        # parsing a million lines takes longer than clients wait for an answer
        likely = (line for line in lines if any(first <= int(n) < last for n in STEP.findall(line)))
        page = [line for line in likely if first <= json.loads(line).get("_step", -1) < last]
        return {"project": {"run": {"history": page[: ask["pageSize"]]}}}

    def full_history(self, ask: Ask) -> Json:
        run = self.store.need(self._key(ask, "name"))
        lines = [line for line in run.history if line != HOLE]
        return {"project": {"run": {"history": lines, "events": run.events}}}

    def delete_run(self, ask: Ask) -> Json:
        self.store.delete(RunKey.from_storage_id(ask["id"]))
        return {"deleteRun": {"clientMutationId": None}}

    # --- files ---

    def create_run_files(self, ask: Ask) -> Json:
        key = self._key(ask, "run")
        self.store.need(key)
        files = [{"name": n, "uploadUrl": upload_url(ask, key, n)} for n in ask["files"]]
        reply = {"runID": key.storage_id, "uploadHeaders": self._upload_headers(), "files": files}
        return {"createRunFiles": reply}

    def _upload_headers(self) -> list[str]:
        return list(self.store.world.upload_headers)

    def run_files(self, ask: Ask) -> Json:
        """The files that were uploaded, a page of two at a time."""
        run = self.store.need(self._key(ask, "name"))
        names = sorted(run.files)
        begin = int(ask.get("fileCursor") or 0)
        page = names[begin : begin + 2]
        edges = [
            {"node": {"id": name, "name": name, "sizeBytes": run.files[name]}, "cursor": str(place)}
            for place, name in enumerate(page, begin + 1)
        ]
        info = {"endCursor": str(begin + 2), "hasNextPage": begin + 2 < len(names)}
        reply = {"fileCount": len(names), "files": {"edges": edges, "pageInfo": info}}
        return {"project": {"run": reply}}

    # --- artifacts, as far as a logged wandb.Table makes one ---

    def artifact_type(self, _: Ask) -> Json:
        return {"project": {"artifact": None}}

    def create_artifact(self, ask: Ask) -> Json:
        given = ask["input"]
        key = RunKey(given["entityName"], given["projectName"], given["runName"])
        self.store.need(key)
        artifact = artifact_id(key)
        name, kind = given["artifactCollectionName"], given["artifactTypeName"]
        self.store.record(
            key, "artifact", id=artifact, fields={"name": name, "type": kind, "state": "PENDING"}
        )
        reply = {"id": artifact, "state": "PENDING", "artifactSequence": {"latestArtifact": None}}
        return {"createArtifact": {"artifact": reply}}

    def artifact_manifest(self, ask: Ask) -> Json:
        artifact = ask.get("artifactID") or ask["artifactManifestID"]
        url = upload_url(ask, artifact_run(artifact), f"{artifact}/manifest.json")
        file = {"id": artifact, "uploadUrl": url, "uploadHeaders": self._upload_headers()}
        reply = {"artifactManifest": {"id": artifact, "file": file}}
        return {"createArtifactManifest": reply, "updateArtifactManifest": reply}

    def create_artifact_files(self, ask: Ask) -> Json:
        edges = []
        for file in ask["input"]["artifactFiles"]:
            artifact, name = file["artifactID"], file["name"]
            node: Json = {
                "storagePath": f"{artifact}/{name}",
                "uploadUrl": upload_url(ask, artifact_run(artifact), f"{artifact}/{name}"),
                "uploadHeaders": self._upload_headers(),
                "uploadMultipartUrls": None,
                "artifact": {"id": artifact},
            }
            edges.append({"node": node})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def commit_artifact(self, ask: Ask) -> Json:
        artifact = ask["artifactID"]
        key = artifact_run(artifact)
        self.store.record(key, "artifact", id=artifact, fields={"state": "COMMITTED"})
        return {"commitArtifact": {"artifact": {"id": artifact, "digest": ""}}}


def artifact_id(key: RunKey) -> str:
    """A new artifact's id, which says whose it is."""
    return f"artifact-{uuid.uuid4().hex}-{key.storage_id}"


def artifact_run(artifact: str) -> RunKey:
    return RunKey.from_storage_id(artifact.split("-", 2)[2])


def upload_url(ask: Ask, key: RunKey, name: str) -> str:
    """Where the client is to PUT a file; as with wandb's signed links, no key is asked there."""
    parts = (key.entity, key.project, key.run, name)
    return f"{ask.url}/_storage/" + "/".join(quote(part, safe="") for part in parts)


def project_fields(key: RunKey) -> Json:
    return {
        "id": f"{key.entity}/{key.project}",
        "name": key.project,
        "entity": {"id": key.entity, "name": key.entity},
    }


@dataclass(frozen=True)
class Shown:
    """What a server says of a run's history, which may be behind the truth."""

    count: int
    tail: list[str] | None  # the newest line that it shows, if any; None: it shows none at all
    digested: int = 0  # lines that its digest of the history is made of

    @classmethod
    def of(cls, run: RunState, world: World, stale: Fault | None) -> Shown:
        """As this world has it, and a fault: that one's tail is fresh unless it says otherwise."""
        now = time.time()
        everything = len(run.history)
        count = run.count_before(now - world.count_lag_s) if world.count_lag_s else everything
        newest = run.count_before(now - world.tail_lag_s) if world.tail_lag_s else everything
        if stale:
            count = min(count, stale_count(run, stale))
            newest = count if stale.stale_tail else everything
        tail = [line for line in run.history[max(0, newest - 1) : newest] if line != HOLE]
        holes = run.history[:newest].count(HOLE)
        return cls(count if world.counts else 0, tail if world.knows_tail else None, newest - holes)


def run_fields(key: RunKey, run: RunState, shown: Shown) -> Json:
    """A run with every field that wandb 0.31 asks for anywhere."""
    internal = run.config.get("_wandb", {}).get("value", {})
    return {
        "__typename": "Run",
        "id": key.storage_id,
        "name": key.run,
        "displayName": run.fields.get("displayName") or key.run,
        "description": run.fields.get("description"),
        "notes": run.fields.get("notes"),
        "tags": run.fields.get("tags") or [],
        "group": run.fields.get("groupName"),
        "jobType": run.fields.get("jobType"),
        "commit": run.fields.get("commit"),
        "sweepName": None,
        "state": run.state,
        "readOnly": False,
        "config": json.dumps(run.config),
        "wandbConfig": json.dumps({"t": internal.get("t")}),
        "summaryMetrics": json.dumps(run.summary),
        "systemMetrics": "{}",
        "historyLineCount": shown.count,
        "eventsLineCount": len(run.events),
        "logLineCount": len(run.output),
        "historyTail": None if shown.tail is None else json.dumps(shown.tail),
        "eventsTail": json.dumps(run.events[-1:]),
        "historyKeys": history_keys(shown),
        "createdAt": iso(run.created_at),
        "heartbeatAt": iso(run.heartbeat_at or run.created_at),
        "user": {"name": key.entity, "username": key.entity},
        "projectId": 1,
        "project": project_fields(key),
    }


def stale_count(run: RunState, fault: Fault) -> int:
    if fault.lag_s:
        return run.count_before(time.time() - fault.lag_s)
    return max(0, len(run.history) - fault.lag)


def history_keys(shown: Shown) -> Json:
    """wandb's digest of a history: the last step, and how often there is one."""
    last = json.loads(shown.tail[-1]).get("_step", -1) if shown.tail else -1
    steps = {"typeCounts": [{"type": "number", "count": shown.digested}], "monotonic": True}
    return {"lastStep": last, "sets": [], "keys": {"_step": steps} if shown.digested else {}}

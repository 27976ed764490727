"""The GraphQL half of the W&B stand-in: an operation's name and variables in, its data out.

Operations are told apart by name, not by parsing their selection: answers hold more fields than
were asked for, which wandb 0.31's clients ignore. An operation nobody taught us is refused and
kept in `Graphql.unknown`, so that a change of the SDK shows.
"""

from __future__ import annotations

import json
import re
from typing import Any, TYPE_CHECKING
from urllib.parse import quote

from tests.fakes.wandb_state import Json, Refusal, RunKey, RunState, Store, iso

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OPERATION = re.compile(r"\b(query|mutation)\s+(\w+)")
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


class Graphql:
    """Answers operations from a Store. `entity` is the one that owns the API key."""

    def __init__(self, store: Store, entity: str) -> None:
        self.store = store
        self.entity = entity
        self.unknown: list[str] = []
        self._artifacts = 0

    def answer(self, body: Mapping[str, Any], *, url: str, lag: int = 0) -> Json:
        """The `data` of one operation.

        `url` is where this server was reached, for upload links; `lag` is how many history lines
        the answer is behind the truth. Refusal when the operation fails.
        """
        name = operation_name(body)
        resolve: Callable[[Json], Json] | None = getattr(self, f"_op_{name}", None)
        if resolve is None:
            self.unknown.append(f"{name}: {body.get('query')}")
            raise Refusal(400, f"this server knows no operation {name!r}")
        variables = dict(body.get("variables") or {}, _url=url, _lag=lag)
        return resolve(variables)

    # --- the account and the server ---

    def _op_Viewer(self, _: Json) -> Json:
        return {"viewer": self._viewer()}

    _op_GetViewer = _op_GetDefaultEntity = _op_Viewer

    def _viewer(self) -> Json:
        return {
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

    def _op_ServerFeaturesQuery(self, _: Json) -> Json:
        return {"serverInfo": {"features": []}}

    def _op_ServerInfo(self, _: Json) -> Json:
        return {"serverInfo": {"cliVersionInfo": None, "latestLocalVersionInfo": None}}

    # --- runs ---

    def _key(self, v: Mapping[str, Any], run: str) -> RunKey:
        return RunKey(v.get("entity") or self.entity, v.get("project") or "uncategorized", v[run])

    def _op_RunResumeStatus(self, v: Json) -> Json:
        key = self._key(v, "name")
        run = self.store.get(key)
        bucket = None if run is None else run_fields(key, run, lag=v["_lag"])
        return {"model": {**project_fields(key), "bucket": bucket}}

    def _op_UpsertBucket(self, v: Json) -> Json:
        key = RunKey.from_storage_id(v["id"]) if v.get("id") else self._key(v, "name")
        v["displayName"] = v.get("displayName") or v.get("display_name")
        fields = {name: v[name] for name in UPSERT_FIELDS if v.get(name) is not None}
        run, inserted = self.store.upsert(key, fields)
        bucket = run_fields(key, run, lag=v["_lag"])
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def _op_Run(self, v: Json) -> Json:
        key = self._key(v, "name")
        run = self.store.get(key)
        return {"project": {"run": run and run_fields(key, run, lag=v["_lag"])}}

    _op_RunState = _op_RunHistoryKeys = _op_Run

    def _op_RunParquetHistory(self, v: Json) -> Json:
        """No exported files here: everything is live, to be had from HistoryPage."""
        self.store.need(self._key(v, "runName"))
        return {"project": {"run": {"parquetHistory": {"parquetUrls": [], "liveData": []}}}}

    def _op_HistoryPage(self, v: Json) -> Json:
        """Rows with minStep <= _step < maxStep, at most pageSize, as wandb's scan asks for them."""
        run = self.store.need(self._key(v, "run"))
        steps = ((json.loads(line).get("_step", -1), line) for line in run.history)
        page = [line for step, line in steps if v["minStep"] <= step < v["maxStep"]]
        return {"project": {"run": {"history": page[: v["pageSize"]]}}}

    def _op_RunFullHistory(self, v: Json) -> Json:
        run = self.store.need(self._key(v, "name"))
        return {"project": {"run": {"history": run.history, "events": run.events}}}

    def _op_DeleteRun(self, v: Json) -> Json:
        self.store.delete(RunKey.from_storage_id(v["id"]))
        return {"deleteRun": {"clientMutationId": None}}

    # --- files ---

    def _op_CreateRunFiles(self, v: Json) -> Json:
        key = self._key(v, "run")
        self.store.need(key)
        base = f"{v['_url']}/_storage/" + "/".join(
            quote(part, safe="") for part in (key.entity, key.project, key.run)
        )
        files = [{"name": n, "uploadUrl": f"{base}/{quote(n, safe='')}"} for n in v["files"]]
        return {"createRunFiles": {"runID": key.storage_id, "uploadHeaders": [], "files": files}}


def project_fields(key: RunKey) -> Json:
    return {
        "id": f"{key.entity}/{key.project}",
        "name": key.project,
        "entity": {"id": key.entity, "name": key.entity},
    }


def run_fields(key: RunKey, run: RunState, *, lag: int = 0) -> Json:
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
        "historyLineCount": max(0, len(run.history) - lag),
        "eventsLineCount": len(run.events),
        "logLineCount": len(run.output),
        "historyTail": json.dumps(run.history[-1:]),
        "eventsTail": json.dumps(run.events[-1:]),
        "historyKeys": history_keys(run.history),
        "createdAt": iso(run.created_at),
        "heartbeatAt": iso(run.heartbeat_at or run.created_at),
        "user": {"name": key.entity, "username": key.entity},
        "projectId": 1,
        "project": project_fields(key),
    }


def history_keys(lines: list[str]) -> Json:
    """wandb's digest of a history; of it, 0.31 reads `lastStep`."""
    last = json.loads(lines[-1]).get("_step", len(lines) - 1) if lines else -1
    return {"lastStep": last, "sets": [], "keys": {}}

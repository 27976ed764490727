"""Questions to the W&B server: who am I, how many lines has this run. Every failure classed.

Asked over plain GraphQL rather than through wandb's SDK, whose answers come from a process that
goes on retrying for days.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from syncd.destination.base import RemoteRun, RunRef
from syncd.destination.wandb.credentials import Login, host_flag, login_remedy
from syncd.destination.wandb.http import Answer, BadRequest, Http, retry_after
from syncd.errors import Connection, Refused, Unreachable

TIMEOUT: Final = 15.0  # seconds that a server may take to answer

_VIEWER: Final = "query Viewer { viewer { id username entity } }"
_REMOTE_RUN: Final = """
query RunResumeStatus($project: String, $entity: String, $name: String!) {
  model(name: $project, entityName: $entity) {
    bucket(name: $name, missingOk: true) { name state historyLineCount historyTail }
  }
}
"""  # the SDK's own question on resuming, so that we see what it will see
_FILES: Final = """
query RunFiles($project: String!, $entity: String!, $name: String!, $after: String) {
  project(name: $project, entityName: $entity) {
    run(name: $name) {
      files(first: 500, after: $after) {
        edges { node { name sizeBytes } cursor }
        pageInfo { endCursor hasNextPage }
      }
    }
  }
}
"""


class Api:
    """One W&B server as one account. Thread-safe: every question is a request of its own."""

    def __init__(self, login: Login, timeout: float = TIMEOUT) -> None:
        self.login = login
        self.host = urlsplit(login.base_url).hostname or login.base_url
        self.http = Http(login.base_url, login.key, timeout)

    def close(self) -> None:
        """Ask nothing more: every further question fails at once."""
        self.http.close()

    def viewer(self) -> str:
        """The entity that runs go to by default. Raises Unreachable or Refused."""
        viewer = self._ask(_VIEWER, {}).get("viewer")
        if not isinstance(viewer, dict):
            raise self._not_logged_in(f"{self.host} does not know this API key")
        return str(self.login.entity or viewer.get("entity") or viewer.get("username") or "")

    def remote_run(self, ref: RunRef) -> RemoteRun | None:
        """The run as the server has it now; None when it has none of that name.

        Raises Unreachable or Refused.
        """
        run = ((self._ask(_REMOTE_RUN, _named(ref)).get("model")) or {}).get("bucket")
        if not run:
            return None
        try:
            return RemoteRun(
                count=int(run["historyLineCount"] or 0),
                last_step=_last_step(run.get("historyTail")),
                state=str(run.get("state") or ""),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            raise self._no_server("its answer has no line count") from None

    def files(self, ref: RunRef) -> set[str]:
        """The names of the run's files that were uploaded. Raises Unreachable or Refused."""
        names: set[str] = set()
        asked = _named(ref)
        while True:
            run = (self._ask(_FILES, asked).get("project") or {}).get("run") or {}
            files = run.get("files") or {}
            nodes = [edge["node"] for edge in files.get("edges") or []]
            # one that was announced and never came has a size of 0
            names |= {str(node["name"]) for node in nodes if node.get("sizeBytes") not in (0, "0")}
            page = files.get("pageInfo") or {}
            if not nodes or not page.get("hasNextPage"):
                return names
            after = str(page.get("endCursor") or "")
            if after == asked.get("after", ""):  # it would be asked for ever
                raise self._no_server("its list of files does not end")
            asked["after"] = after

    def _ask(self, query: str, variables: Mapping[str, str]) -> dict[str, Any]:
        if not self.login.key:
            raise self._not_logged_in("nobody is logged in")
        body = orjson.dumps({"query": query, "variables": dict(variables)})
        try:
            answer = self.http.post("/graphql", body)
        except BadRequest as error:
            raise self._not_logged_in(f"the login can't be used: {error}") from None
        return self._data(answer)

    def _data(self, answer: Answer) -> dict[str, Any]:
        if answer.status == 401:
            raise self._not_logged_in(f"{self.host} does not accept the API key (HTTP 401)")
        if answer.status == 403:
            raise self._forbidden("HTTP 403")
        if answer.status >= 500 or answer.status in (408, 425, 429):
            raise Unreachable(
                f"{self.host} is in trouble (HTTP {answer.status})",
                kind=Connection.TROUBLE,
                retry_after=retry_after(answer.headers.get("retry-after", ""), time.time()),
            )
        try:
            body = answer.json()
        except ValueError:
            raise self._no_server(_looks_like(answer)) from None
        if not isinstance(body, dict):
            raise self._no_server("its answer is no GraphQL")
        data, errors = body.get("data"), body.get("errors")
        if isinstance(data, dict) and not errors:
            return data
        words = _error_words(errors)
        if "permission" in words.lower() or "denied" in words.lower():
            raise self._forbidden(words)
        if isinstance(data, dict) and "not found" in words.lower():
            return data  # a project or run that is yet to be made
        raise Unreachable(f"{self.host} answered with an error: {words}", kind=Connection.TROUBLE)

    def _not_logged_in(self, what: str) -> Refused:
        return Refused(
            what,
            kind=Connection.NOT_LOGGED_IN,
            remedy=login_remedy(self.login.base_url),
        )

    def _forbidden(self, words: str) -> Refused:
        return Refused(
            f"{self.host} refuses this account ({words})",
            kind=Connection.REFUSED,
            remedy="Check the entity (WANDB_ENTITY) and its permissions, "
            f"or log in as somebody else: `wandb login --relogin{host_flag(self.login.base_url)}`",
        )

    def _no_server(self, words: str) -> Unreachable:
        return Unreachable(
            f"what answers at {self.host} is not a W&B server ({words}); "
            "a network that wants you to log in first does this",
            kind=Connection.CAPTIVE,
        )


def _named(ref: RunRef) -> dict[str, str]:
    return {"entity": ref.entity, "project": ref.project, "name": ref.run_id}


def _last_step(tail: object) -> int:
    """The `_step` of the last history row in GraphQL's historyTail, a JSON list of JSON texts. A
    row that has none was written by nobody of ours: -1, which no count agrees with."""
    rows = json.loads(tail) if isinstance(tail, str) and tail else []
    if not rows:
        return -1
    last = json.loads(rows[-1]) if isinstance(rows[-1], str) else rows[-1]
    return int(last.get("_step", -1))


def _looks_like(answer: Answer) -> str:
    kind = answer.headers.get("content-type", "no content type").split(";")[0]
    return f"HTTP {answer.status}, {kind}"


def _error_words(errors: object) -> str:
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return str(errors[0].get("message", "no message"))[:200]
    return "no data"

"""Questions to the W&B server: who am I, how many lines has this run. Every failure classed.

Asked over plain GraphQL with `requests`, which honours proxies and CA settings, rather than
through wandb's SDK, whose answers come from a process that goes on retrying for days.
"""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from syncd.destination.base import Standing
from syncd.destination.wandb.certificates import ca_bundle
from syncd.destination.wandb.credentials import DEFAULT_URL, Login
from syncd.errors import Refused, Unreachable

CONNECT: Final = 5.0  # seconds to connect; no server is further away than that
ANSWER: Final = 15.0  # to wait for an answer
MAX_WAIT: Final = 3600.0  # seconds of a Retry-After that are taken seriously

_VIEWER: Final = "query Viewer { viewer { id username entity } }"
_STANDING: Final = """
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


class Server:
    """One W&B server as one account. Thread-safe: every question is a request of its own."""

    def __init__(self, login: Login, answer: float = ANSWER) -> None:
        self.login = login
        self.host = urlsplit(login.base_url).hostname or login.base_url
        self._timeout = (min(CONNECT, answer), answer)
        self._closed = False

    def close(self) -> None:
        """Ask nothing more: every further question fails at once."""
        self._closed = True

    def viewer(self) -> str:
        """The entity that runs go to by default. Raises Unreachable or Refused."""
        viewer = self._ask(_VIEWER, {}).get("viewer")
        if not isinstance(viewer, dict):
            raise self._not_logged_in(f"{self.host} does not know this API key")
        return str(self.login.entity or viewer.get("entity") or viewer.get("username") or "")

    def standing(self, entity: str, project: str, run_id: str) -> Standing | None:
        """The run as the server has it now; None when it has none of that name.

        Raises Unreachable or Refused.
        """
        asked = {"entity": entity, "project": project, "name": run_id}
        run = ((self._ask(_STANDING, asked).get("model")) or {}).get("bucket")
        if not run:
            return None
        try:
            return Standing(
                count=int(run["historyLineCount"] or 0),
                last_step=_last_step(run.get("historyTail")),
                state=str(run.get("state") or ""),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            raise self._no_server("its answer has no line count") from None

    def files(self, entity: str, project: str, run_id: str) -> set[str]:
        """The names of the run's files that were uploaded. Raises Unreachable or Refused."""
        names: set[str] = set()
        asked = {"entity": entity, "project": project, "name": run_id}
        while True:
            run = (self._ask(_FILES, asked).get("project") or {}).get("run") or {}
            files = run.get("files") or {}
            nodes = [edge["node"] for edge in files.get("edges") or []]
            # one that was announced and never came has a size of 0
            names |= {str(node["name"]) for node in nodes if node.get("sizeBytes") not in (0, "0")}
            page = files.get("pageInfo") or {}
            if not nodes or not page.get("hasNextPage"):
                return names
            asked["after"] = str(page.get("endCursor"))

    def _ask(self, query: str, variables: Mapping[str, str]) -> dict[str, Any]:
        if self._closed:
            raise Unreachable("the daemon is stopping")
        if not self.login.key:
            raise self._not_logged_in("nobody is logged in")
        try:
            answer = requests.post(
                f"{self.login.base_url}/graphql",
                json={"query": query, "variables": dict(variables)},
                auth=("api", self.login.key),
                headers={"User-Agent": "karaoke-syncd"},
                timeout=self._timeout,
                verify=ca_bundle() or True,
                allow_redirects=False,  # a captive portal redirects, a W&B server does not
            )
        except requests.RequestException as error:
            raise Unreachable(describe(error, self.host)) from None
        except ValueError as error:  # a key or an address that can't be put into a request
            raise self._not_logged_in(f"the login can't be used: {type(error).__name__}") from None
        return self._data(answer)

    def _data(self, answer: requests.Response) -> dict[str, Any]:
        if answer.status_code == 401:
            raise self._not_logged_in(f"{self.host} does not accept the API key (HTTP 401)")
        if answer.status_code == 403:
            raise self._forbidden("HTTP 403")
        if answer.status_code >= 500 or answer.status_code in (408, 425, 429):
            raise Unreachable(
                f"{self.host} is in trouble (HTTP {answer.status_code})",
                kind="trouble",
                retry_after=retry_after(answer.headers.get("Retry-After", ""), time.time()),
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
        raise Unreachable(f"{self.host} answered with an error: {words}", kind="trouble")

    def _not_logged_in(self, what: str) -> Refused:
        return Refused(
            what,
            kind="not_logged_in",
            remedy=f"Run `wandb login{self._host_flag()}`, or set WANDB_API_KEY",
        )

    def _forbidden(self, words: str) -> Refused:
        return Refused(
            f"{self.host} refuses this account ({words})",
            kind="refused",
            remedy="Check the entity (WANDB_ENTITY) and its permissions, "
            f"or log in as somebody else: `wandb login --relogin{self._host_flag()}`",
        )

    def _no_server(self, words: str) -> Unreachable:
        return Unreachable(
            f"what answers at {self.host} is not a W&B server ({words}); "
            "a network that wants you to log in first does this",
            kind="captive",
        )

    def _host_flag(self) -> str:
        url = self.login.base_url
        return "" if url == DEFAULT_URL else f" --host {url}"


def describe(error: requests.RequestException, host: str) -> str:
    """What kept a request from being answered, in words; never with the request in them."""
    text = str(error)
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy does not let us reach {host}"
    if isinstance(error, requests.exceptions.SSLError):
        return (
            f"the TLS certificate of {host} can't be verified; if an authority of your own "
            "has signed it, name its file in SSL_CERT_FILE"
        )
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"no connection to {host} within {CONNECT:.0f} s"
    if isinstance(error, requests.exceptions.ReadTimeout):
        return f"{host} does not answer"
    if "NameResolution" in text or "getaddrinfo" in text:
        return f"the name {host} can't be resolved"
    if "refused" in text.lower():
        return f"{host} refuses the connection"
    if "reset" in text.lower() or "aborted" in text.lower():
        return f"the connection to {host} was cut"
    return f"{host} can't be reached ({type(error).__name__})"


def retry_after(header: str, now: float) -> float:
    """Seconds that a Retry-After header asks for (RFC 9110 10.2.3); 0 when it says nothing."""
    if header.strip().isdecimal():
        return min(float(header), MAX_WAIT)
    try:
        moment = email.utils.parsedate_to_datetime(header)
    except (ValueError, TypeError):
        return 0.0
    return min(max(0.0, moment.timestamp() - now), MAX_WAIT)


def _last_step(tail: object) -> int:
    """The `_step` of the last history row in GraphQL's historyTail, a JSON list of JSON texts. A
    row that has none was written by nobody of ours: -1, which no count agrees with."""
    rows = json.loads(tail) if isinstance(tail, str) and tail else []
    if not rows:
        return -1
    last = json.loads(rows[-1]) if isinstance(rows[-1], str) else rows[-1]
    return int(last.get("_step", -1))


def _looks_like(answer: requests.Response) -> str:
    kind = answer.headers.get("Content-Type", "no content type").split(";")[0]
    return f"HTTP {answer.status_code}, {kind}"


def _error_words(errors: object) -> str:
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return str(errors[0].get("message", "no message"))[:200]
    return "no data"

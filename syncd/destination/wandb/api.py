"""Questions to the W&B server: who am I, how many lines has this run. Every failure classed.

Asked over plain GraphQL rather than through wandb's SDK, whose answers come from a process that
goes on retrying for days.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, wraps
from http import HTTPStatus
from typing import Any, BinaryIO, Concatenate, Final, ParamSpec, TypeVar
from urllib.parse import quote, urlsplit

import orjson

from karaoke_train.runlog.plain_text import one_line
from syncd.destination.base import Labels, RemoteRun, RunRef
from syncd.destination.refusals import without_names
from syncd.destination.wandb.credentials import Login, host_flag, login_remedy
from syncd.destination.wandb.http import (
    MAX_ANSWER,
    SMALL_ANSWER,
    Answer,
    BadRequest,
    Http,
    retry_after,
)
from syncd.errors import Connection, Refused, Unreachable, UploadError

P = ParamSpec("P")
T = TypeVar("T")

# What Python says of a part that is missing, of another type, out of range or nested too deep
_ODD: Final = (
    *(AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RecursionError),
)
TIMEOUT: Final = 15.0  # seconds that a server may take to answer
PAGE: Final = 1000  # rows per question
WORDS: Final = 200  # characters of what the server says that are passed on
FILES: Final = 500  # of a run, per question
MOST_FILES: Final = 1_000_000  # of a run; more are no list, but a server that makes them up
DEEPEST: Final = 500  # of what it has of a run, which is written again: that takes Python to 1000
MOST_OF_A_NAME: Final = 512  # characters; wandb takes 128
_GZIP: Final = "FILESTREAM_GZIP"  # of a server's features: compressed posts are taken
_WORTH_IT: Final = 4096  # bytes of a post from which on it is compressed
_REFUSES: Final = (401, 403)  # the account, where it is the server that answers
_NAMES: Final = ("entity", "project", "name", "run")  # among a question's variables
_LATER: Final = (408, 425, 429)  # beside 5xx: the same request may be taken later

_VIEWER: Final = "query Viewer { viewer { id username entity } }"
_REMOTE_RUN: Final = """
query RunResumeStatus($project: String, $entity: String, $name: String!) {
  model(name: $project, entityName: $entity) {
    bucket(name: $name, missingOk: true) { name state historyLineCount historyTail }
  }
}
"""  # the SDK's own question on resuming, so that we see what it will see
_BUCKET: Final = """
query RunResumeStatus($project: String, $entity: String, $name: String!) {
  model(name: $project, entityName: $entity) {
    bucket(name: $name, missingOk: true) {
      id name state historyLineCount historyTail config summaryMetrics
    }
  }
}
"""
_UPSERT: Final = """
mutation UpsertBucket($id: String, $name: String, $project: String, $entity: String,
    $displayName: String, $config: JSONString, $program: String, $groupName: String,
    $jobType: String, $notes: String, $tags: [String!]) {
  upsertBucket(input: {id: $id, name: $name, modelName: $project, entityName: $entity,
      displayName: $displayName, config: $config, jobProgram: $program, groupName: $groupName,
      jobType: $jobType, notes: $notes, tags: $tags}) {
    bucket { id name historyLineCount project { name entity { name } } }
    inserted
  }
}
"""
_FEATURES: Final = "query ServerFeaturesQuery { serverInfo { features { name isEnabled } } }"
_HISTORY: Final = """
query HistoryPage($entity: String!, $project: String!, $run: String!, $minStep: Int64!,
    $maxStep: Int64!, $pageSize: Int!) {
  project(name: $project, entityName: $entity) {
    run(name: $run) { history(minStep: $minStep, maxStep: $maxStep, samples: $pageSize) }
  }
}
"""  # the public API's own question
_KEYS: Final = """
query RunHistoryKeys($project: String!, $entity: String!, $name: String!) {
  project(name: $project, entityName: $entity) { run(name: $name) { historyKeys } }
}
"""  # likewise
_HEARTBEAT: Final = """
query Run($project: String!, $entity: String!, $name: String!) {
  project(name: $project, entityName: $entity) { run(name: $name) { heartbeatAt } }
}
"""  # likewise
_CREATE_FILES: Final = """
mutation CreateRunFiles($entity: String!, $project: String!, $run: String!, $files: [String!]!) {
  createRunFiles(input: {entityName: $entity, projectName: $project, runName: $run,
      files: $files}) {
    runID uploadHeaders files { name uploadUrl }
  }
}
"""
_FILES: Final = """
query RunFiles($project: String!, $entity: String!, $name: String!, $fileCursor: String,
    $fileLimit: Int) {
  project(name: $project, entityName: $entity) {
    run(name: $name) {
      files(after: $fileCursor, first: $fileLimit) {
        edges { node { name sizeBytes } cursor }
        pageInfo { endCursor hasNextPage }
      }
    }
  }
}
"""  # likewise


class Rejected(Exception):
    """The server answered, and does not take the request: trying it again as it is is in vain.
    own: whether that was surely the server, and not what is between it and us."""

    def __init__(self, status: int, words: str, *, own: bool = True) -> None:
        super().__init__(words)
        self.status = status
        self.own = own


@dataclass(frozen=True, slots=True)
class Bucket:
    """All that the server has of a run but its history. storage_id: its id in the database."""

    storage_id: str
    run: RemoteRun
    config: Mapping[str, Any]
    summary: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Streamed:
    """The server's own answer to a post. stopped: somebody pressed Stop on the run's page.
    remaining, reset: of its rate limit, -1 where it says nothing."""

    stopped: bool
    remaining: float = -1.0
    reset: float = -1.0


@dataclass(frozen=True, slots=True)
class Upload:
    """Where a file is to be put."""

    name: str
    url: str
    headers: Mapping[str, str]


def _understood(ask: Callable[Concatenate[Api, P], T]) -> Callable[Concatenate[Api, P], T]:
    """Of an answer that only looks like a W&B server's, any part may be missing, of another type,
    or out of range: then it is no such server's."""

    @wraps(ask)
    def asked(api: Api, /, *arguments: P.args, **named: P.kwargs) -> T:
        try:
            return ask(api, *arguments, **named)
        except _ODD:
            raise api.no_server("its answer is of another form") from None

    return asked


class Api:
    """One W&B server as one account. Thread-safe: every question is a request of its own."""

    def __init__(self, login: Login, timeout: float = TIMEOUT) -> None:
        self.login = login
        self.host = urlsplit(login.base_url).hostname or login.base_url
        self.http = Http(login.base_url, login.key, timeout)
        self._gzip: bool | None = None  # once it was asked
        self._asking = threading.Lock()

    def close(self) -> None:
        """Ask nothing more: every further question fails at once."""
        self.http.close()

    @_understood
    def viewer(self) -> str:
        """The entity that runs go to by default. Raises Unreachable or Refused."""
        viewer = self._ask(_VIEWER, {}).get("viewer")
        if not isinstance(viewer, dict):
            raise self._not_logged_in(f"{self.host} does not know this API key")
        entity = str(self.login.entity or viewer.get("entity") or viewer.get("username") or "")
        if len(entity) > MOST_OF_A_NAME:  # it would be in each cursor and line of the log
            raise self.no_server("its account's name is none")
        return entity

    @_understood
    def remote_run(self, ref: RunRef) -> RemoteRun | None:
        """The run as the server has it now; None when it has none of that name.

        Raises Unreachable or Refused.
        """
        run = self._part(_REMOTE_RUN, _named(ref), "model", "bucket")
        return self._remote(run) if run else None

    def _remote(self, run: Mapping[str, Any]) -> RemoteRun:
        try:
            count = int(run["historyLineCount"] or 0)
            if not 0 <= count < 1 << 53:
                raise ValueError("no count")
            return RemoteRun(
                count=count,
                last_step=_last_step(run.get("historyTail")),
                state=str(run.get("state") or ""),
            )
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            raise self.no_server("its answer has no line count") from None

    @_understood
    def files(self, ref: RunRef) -> set[str]:
        """The names of the run's files that were uploaded. Raises Unreachable or Refused."""
        names: set[str] = set()
        seen: set[str] = set()
        asked = {**_named(ref), "fileCursor": None, "fileLimit": FILES}
        while True:
            run = self._part(_FILES, asked, "project", "run")
            files = run.get("files") or {}
            nodes = [edge["node"] for edge in files.get("edges") or []]
            known = len(seen)
            seen |= {str(node["name"]) for node in nodes}
            # one that was announced and never came has a size of 0
            names |= {str(node["name"]) for node in nodes if node.get("sizeBytes") not in (0, "0")}
            page = files.get("pageInfo") or {}
            if not nodes or not page.get("hasNextPage"):
                return names
            after = str(page.get("endCursor") or "")
            news = after != (asked["fileCursor"] or "") and known < len(seen) < MOST_FILES
            if not news:  # it would be asked for ever
                raise self.no_server("its list of files does not end")
            asked["fileCursor"] = after

    @_understood
    def bucket(self, ref: RunRef) -> Bucket | None:
        """The run with its config and summary; None when there is none of that name. Raises
        Unreachable or Refused."""
        run = self._part(_BUCKET, _named(ref), "model", "bucket")
        if not run:
            return None
        texts = _texted(run, "config"), _texted(run, "summaryMetrics")
        return Bucket(str(run.get("id") or ""), self._remote(run), *texts)

    @_understood
    def rows(self, ref: RunRef, start: int, stop: int) -> list[dict[str, Any]]:
        """The history rows with start <= `_step` < stop. Raises Unreachable or Refused."""
        rows: list[dict[str, Any]] = []
        asked: dict[str, Any] = {"entity": ref.entity, "project": ref.project, "run": ref.run_id}
        for first in range(start, stop, PAGE):
            last = min(stop, first + PAGE)
            asked |= {"minStep": first, "maxStep": last, "pageSize": PAGE}
            run = self._part(_HISTORY, asked, "project", "run")
            rows += map(self._row, run.get("history") or [])
        return rows

    @_understood
    def steps(self, ref: RunRef) -> int | None:
        """How many history rows have a `_step`, by the server's digest of the history; None where
        it has none. Raises Unreachable or Refused."""
        run = self._part(_KEYS, _named(ref), "project", "run")
        try:
            types = run["historyKeys"]["keys"]["_step"]["typeCounts"]
            return sum(int(found["count"]) for found in types)
        except (KeyError, TypeError, ValueError):
            return None

    @_understood
    def heartbeat(self, ref: RunRef) -> str:
        """When the server last heard of the run, in its own words; empty where it does not say.
        Raises Unreachable or Refused."""
        run = (self._ask(_HEARTBEAT, _named(ref)).get("project") or {}).get("run") or {}
        return str(run.get("heartbeatAt") or "")

    def _row(self, text: object) -> dict[str, Any]:
        row = json.loads(text) if isinstance(text, str) else text
        if not isinstance(row, dict):
            raise self.no_server("its history is none")
        return row

    @_understood
    def upsert(self, ref: RunRef, *, name: str, config: str, program: str, labels: Labels) -> bool:
        """Make the run, or change its name, its config (JSON) and those labels that are given.
        Returns whether the run was there already. Raises Unreachable, Refused or Rejected."""
        own = {"displayName": name, "config": config, "program": program or None}
        asked = {**_named(ref), **own, **_labelled(labels)}
        made = self._ask(_UPSERT, asked, rejecting=True).get("upsertBucket")
        if not isinstance(made, dict):  # its lines would be refused, and the lane with them
            raise self.no_server("its answer names no run")
        return made.get("inserted") is False

    @_understood
    def label(self, ref: RunRef, labels: Labels) -> bool:
        """Change those labels of the run that are given; whether there is such a run. Raises
        Unreachable, Refused or Rejected."""
        bucket = self.bucket(ref)
        if bucket is None:
            return False
        # By its id, as the public API does it: by its name it would be a run that begins again
        asked = {"id": bucket.storage_id or None, **_named(ref), **_labelled(labels)}
        self._ask(_UPSERT, asked, rejecting=True)
        return True

    @_understood
    def create_files(self, ref: RunRef, names: Sequence[str]) -> list[Upload]:
        """Announce files of the run. Raises Unreachable, Refused or Rejected."""
        asked: dict[str, Any] = {"entity": ref.entity, "project": ref.project, "run": ref.run_id}
        asked |= {"files": list(names)}  # signed links take two thousand bytes each
        data = self._ask(_CREATE_FILES, asked, rejecting=True, most=MAX_ANSWER)
        made = data.get("createRunFiles") or {}
        try:
            headers = dict(item.split(":", 1) for item in made.get("uploadHeaders") or [])
            return [Upload(str(f["name"]), str(f["uploadUrl"]), headers) for f in made["files"]]
        except (AttributeError, KeyError, TypeError, ValueError):
            raise self.no_server("its answer names no place for files") from None

    def put_file(self, upload: Upload, data: BinaryIO) -> None:
        """Bring a file to where it was announced. Raises Unreachable or Rejected."""
        try:
            answer = self.http.put(upload.url, data, upload.headers)
        except BadRequest:
            raise self.no_server("the place that it names for a file is none") from None
        if answer.status >= 500 or answer.status in _LATER:
            raise self._trouble(answer)
        if answer.status >= 300:
            raise Rejected(answer.status, f"HTTP {answer.status}")

    @_understood
    def file_stream(self, ref: RunRef, body: bytes) -> Streamed:
        """Post to the run's file stream. Raises Unreachable, Refused or Rejected."""
        headers: dict[str, str] = {}
        if len(body) >= _WORTH_IT and self._takes_gzip():
            # The lowest level: rows are so alike that a higher one costs more than it saves
            body, headers = gzip.compress(body, 1, mtime=0), {"Content-Encoding": "gzip"}
        answer = self._post(_stream_of(ref), body, headers)
        found = self._object(answer, rejecting=True, told_by=("errors", "error"))
        if found.get("error"):  # some servers say 200 to what they refuse
            raise Rejected(answer.status, one_line(str(found["error"]), WORDS))
        return Streamed(
            stopped=found.get("stopped") is True,
            remaining=_number(answer.headers.get("ratelimit-remaining")),
            reset=_number(answer.headers.get("ratelimit-reset")),
        )

    def _ask(
        self,
        query: str,
        variables: Mapping[str, Any],
        *,
        rejecting: bool = False,
        most: int = SMALL_ANSWER,
    ) -> dict[str, Any]:
        """The data of an answer. rejecting: what the server does not take is Rejected, with its
        words, and not a trouble of the server's. most: bytes that the answer may have."""
        body = orjson.dumps({"query": query, "variables": dict(variables)})
        found = self._object(self._post("/graphql", body, most=most), rejecting=rejecting)
        names = [str(variables.get(name) or "") for name in _NAMES]
        return self._data(found, names, rejecting=rejecting)

    def _part(
        self, query: str, variables: Mapping[str, Any], whole: str, name: str
    ) -> dict[str, Any]:
        """A part of an answer that may be large; empty where the answer has none."""
        found = self._ask(query, variables, most=MAX_ANSWER).get(whole) or {}
        return found.get(name) or {}

    def _takes_gzip(self) -> bool:
        """Whether the server says that it takes compressed posts; asked once. A server that knows
        no such question takes none, and so does one that is in trouble."""
        with self._asking:
            if self._gzip is None:
                try:
                    info = self._ask(_FEATURES, {}, rejecting=True).get("serverInfo") or {}
                    features = info.get("features") or []
                    enabled = {one["name"] for one in features if one["isEnabled"] is True}
                except (UploadError, Rejected, AttributeError, KeyError, TypeError):
                    enabled = set()
                self._gzip = _GZIP in enabled
            return self._gzip

    def _post(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        most: int = SMALL_ANSWER,
    ) -> Answer:
        if not self.login.key:
            raise self._not_logged_in("nobody is logged in")
        try:
            return self.http.post(path, body, headers, most)
        except BadRequest as error:
            raise self._not_logged_in(f"the login can't be used: {error}") from None

    def _object(
        self, answer: Answer, *, rejecting: bool, told_by: Sequence[str] = ("errors", "data")
    ) -> dict[str, Any]:
        """The JSON object that a W&B server answers with. told_by: what one of its has that refuses
        something: proxies have JSON of their own."""
        if answer.status >= 500 or answer.status in _LATER:
            raise self._trouble(answer)
        body = _read(answer)
        own = isinstance(body, dict) and any(body.get(name) for name in told_by)
        if answer.status in _REFUSES and own:
            raise self._account_refused(answer.status)
        if answer.status in _REFUSES:
            raise self.no_server(_looks_like(answer))
        if rejecting and answer.status == 413 and not own:  # a proxy's; a post may be halved
            raise Rejected(413, "the request is too large", own=False)
        if body is None:
            raise self.no_server(_looks_like(answer))
        if not isinstance(body, dict):
            raise self.no_server("its answer is no GraphQL")
        if rejecting and answer.status >= 400:
            if not own:
                raise self.no_server(_looks_like(answer))
            words = _error_words(
                body.get("errors") or [{"message": body.get("error") or f"HTTP {answer.status}"}]
            )
            raise Rejected(answer.status, words)
        return body

    def _data(
        self, body: Mapping[str, Any], names: Sequence[str], *, rejecting: bool
    ) -> dict[str, Any]:
        data, errors = body.get("data"), body.get("errors")
        if isinstance(data, dict) and not errors:
            return data
        words = _error_words(errors)
        said = without_names(words, *names).lower()
        if "permission" in said or "denied" in said:
            raise self._forbidden(words)
        if isinstance(data, dict) and "not found" in said:
            return data  # a project or run that is yet to be made
        if rejecting and errors:  # an answer that has neither data nor errors refuses nothing
            raise Rejected(200, words)
        raise Unreachable(f"{self.host} answered with an error: {words}", kind=Connection.TROUBLE)

    def _trouble(self, answer: Answer) -> Unreachable:
        wait = retry_after(answer.headers.get("retry-after", ""), time.time())
        told = f"; by its own words it may be asked again in {wait:,.0f} s" if wait else ""
        return Unreachable(
            f"{self.host} is in trouble (HTTP {answer.status}){told}",
            kind=Connection.TROUBLE,
            retry_after=wait,
        )

    def _account_refused(self, status: int) -> Refused:
        if status == HTTPStatus.UNAUTHORIZED:
            return self._not_logged_in(f"{self.host} does not accept the API key (HTTP 401)")
        return self._forbidden(f"HTTP {status}")

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

    def no_server(self, words: str) -> Unreachable:
        """What answers is no W&B server, and why that is known."""
        return Unreachable(
            f"what answers at {self.host} is not a W&B server ({words}); "
            "a network that wants you to log in first, or a proxy on the way, does this",
            kind=Connection.CAPTIVE,
        )


def _texted(run: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A JSON text of the run's, as what it says; empty where it says nothing that we know."""
    value = run.get(name)
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return {}
    return found if isinstance(found, dict) and not _is_deeper(found, DEEPEST) else {}


def _is_deeper(value: Any, most: int) -> bool:
    """Whether more than so many objects and lists are within one another."""
    level = [value]
    for _ in range(most):
        pairs = [one.values() if isinstance(one, dict) else one for one in level]
        level = [item for inner in pairs for item in inner if isinstance(item, (dict, list))]
        if not level:
            return False
    return True


@lru_cache(maxsize=1024)
def _stream_of(ref: RunRef) -> str:
    place = "/".join(quote(part, safe="") for part in (ref.entity, ref.project, ref.run_id))
    return f"/files/{place}/file_stream"


def _number(header: str | None) -> float:
    try:
        return float(header) if header is not None else -1.0
    except ValueError:
        return -1.0


def _named(ref: RunRef) -> dict[str, str]:
    return {"entity": ref.entity, "project": ref.project, "name": ref.run_id}


def _labelled(labels: Labels) -> dict[str, Any]:
    """Null leaves what the run has."""
    return {
        "groupName": labels.group or None,
        "jobType": labels.job_type or None,
        "notes": labels.notes or None,
        "tags": list(labels.tags) or None,
    }


def _last_step(tail: object) -> int:
    """The `_step` of the last history row in GraphQL's historyTail, a JSON list of JSON texts. A
    row that has none was written by nobody of ours: -1, which no count agrees with."""
    rows = json.loads(tail) if isinstance(tail, str) and tail else []
    if not rows:
        return -1
    last = json.loads(rows[-1]) if isinstance(rows[-1], str) else rows[-1]
    return int(last.get("_step", -1))


def _read(answer: Answer) -> Any:
    """The answer as JSON; None for what is none."""
    try:
        return answer.json()
    except ValueError:
        return None


def _looks_like(answer: Answer) -> str:
    kind = answer.headers.get("content-type", "no content type").split(";")[0]
    size = f", {len(answer.data):,} bytes" if len(answer.data) >= SMALL_ANSWER else ""
    return f"HTTP {answer.status}, {kind}{size}"


def _error_words(errors: object) -> str:
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return one_line(str(errors[0].get("message", "no message")), WORDS)
    return "no data"

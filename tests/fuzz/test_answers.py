"""Answers of any shape, by servers and by our own processes: understood, or an error in words."""

from __future__ import annotations

import contextlib
import json
import pickle
import socket
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karaoke_train.training import syncd_program
from syncd.destination.base import Labels, RunRef
from syncd.destination.wandb import history
from syncd.destination.wandb.api import Api, Rejected, Upload
from syncd.destination.wandb.credentials import Login
from syncd.destination.wandb.http import Answer
from syncd.destination.wandb.worker import Configure, Failure
from syncd.destination.wandb.worker_pool import Worker, WorkerFailed
from syncd.errors import RunTrouble, UploadError
from tests.corpus import files
from tests.fuzz import JSON, mutated

REF: Final = RunRef("e", "p", "r")
RUN: Final = {
    "id": "x", "name": "r", "state": "running", "historyLineCount": 2, "config": "{}",
    "historyTail": '["{\\"_step\\": 1}"]', "summaryMetrics": "{}", "heartbeatAt": "2024-01-15",
    "history": ['{"_step": 0}', {"_step": 1}],
    "historyKeys": {"keys": {"_step": {"typeCounts": [{"type": "number", "count": 2}]}}},
    "files": {
        "edges": [{"node": {"name": "a", "sizeBytes": "1"}}],
        "pageInfo": {"endCursor": "x", "hasNextPage": True},
    },
}  # fmt: skip
DATA: Final = {
    "viewer": {"entity": "e", "username": "u"},
    "model": {"bucket": RUN},
    "project": {"run": RUN},
    "upsertBucket": {"inserted": True, "bucket": RUN},
    "createRunFiles": {
        "runID": "r", "uploadHeaders": ["a:b"], "files": [{"name": "a", "uploadUrl": "http://h/"}],
    },
    "serverInfo": {"features": [{"name": "FILESTREAM_GZIP", "isEnabled": True}]},
}  # fmt: skip
ERRORS: Final = {"errors": [{"message": "permission denied"}], "error": "no"}
QUESTIONS: Final[dict[str, Callable[[Api], object]]] = {
    "viewer": lambda api: api.viewer(),
    "remote_run": lambda api: api.remote_run(REF),
    "files": lambda api: api.files(REF),
    "bucket": lambda api: api.bucket(REF),
    "rows": lambda api: api.rows(REF, 0, 2),
    "steps": lambda api: api.steps(REF),
    "heartbeat": lambda api: api.heartbeat(REF),
    "upsert": lambda api: api.upsert(REF, name="n", config="{}", program="", labels=Labels()),
    "label": lambda api: api.label(REF, Labels(notes="n")),
    "create_files": lambda api: api.create_files(REF, ["a"]),
    "put_file": lambda api: api.put_file(Upload("a", "http://127.0.0.1:9/", {}), None),  # type: ignore[arg-type]
    "file_stream": lambda api: api.file_stream(REF, b"x" * 5000),
}


class AnyHttp:
    """Answers each request with the same."""

    def __init__(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self._answer = Answer(status, headers, data)

    def post(self, *request: object) -> Answer:
        return self._answer

    put = post


def answered(question: str, status: int, headers: dict[str, str], data: bytes) -> None:
    api = Api(Login("http://127.0.0.1:9", "", "k" * 40))
    api.http = AnyHttp(status, headers, data)  # type: ignore[assignment]
    with contextlib.suppress(UploadError, Rejected):
        QUESTIONS[question](api)


BODIES: Final = st.one_of(
    st.fixed_dictionaries(
        {"data": mutated(DATA)}, optional={key: mutated(value) for key, value in ERRORS.items()}
    ),
    JSON,
).map(lambda found: json.dumps(found).encode())
HEADERS: Final = st.dictionaries(
    st.sampled_from(["retry-after", "content-type", "ratelimit-remaining", "ratelimit-reset"]),
    st.text(max_size=12) | st.sampled_from(["9" * 400, "nan", "-1", "1e400"]),
)
STATUSES: Final = st.sampled_from([200, 200, 200, 201, 204, 301, 400, 401, 403, 404, 413, 429, 503])


@pytest.mark.parametrize("question", QUESTIONS)
@given(status=STATUSES, headers=HEADERS, data=BODIES | st.binary())
def test_an_answer_of_any_shape_is_understood_or_an_error_in_words(
    question: str, status: int, headers: dict[str, str], data: bytes
) -> None:
    answered(question, status, headers, data)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("path", files("json"), ids=lambda path: path.stem)
def test_answers_that_once_did_harm(question: str, path: Path) -> None:
    data = path.read_bytes()
    for body in (data, b'{"data":' + data + b"}", b'{"data": {"project": ' + data + b"}}"):
        answered(question, 200, {}, body)


@given(lines=st.lists(JSON.map(lambda found: json.dumps(found).encode()) | st.binary(), max_size=4))
def test_a_history_of_any_lines_is_rows_or_trouble(lines: list[bytes]) -> None:
    with contextlib.suppress(RunTrouble):
        for row in history._rows(lines, "r", lambda: None):
            assert isinstance(row, dict)


@contextlib.contextmanager
def worker() -> Iterator[tuple[Worker, socket.socket]]:
    """A worker without its process, and the process's end of the line."""
    ours, theirs = socket.socketpair()
    made = Worker.__new__(Worker)
    made._line, made._answered = Connection(ours.detach()), False
    made._process = SimpleNamespace(wait=lambda timeout: 1)  # type: ignore[assignment]
    with theirs:
        yield made, theirs
    made._line.close()


def said(made: Worker) -> None:
    with contextlib.suppress(WorkerFailed, RunTrouble):
        assert type(made.call(Configure({}), 1.0)) is int


@given(answer=JSON | st.builds(Failure, JSON))
def test_a_worker_that_answers_anything_is_understood_or_trouble(answer: Any) -> None:
    with worker() as (made, theirs):
        line = Connection(theirs.detach())
        line.send(answer)
        said(made)
        line.close()


@given(cut=st.integers(0, 40), length=st.integers(-1, 2**31 - 1) | st.none())
def test_a_worker_that_dies_in_mid_answer_is_trouble(cut: int, length: int | None) -> None:
    data = pickle.dumps(Failure("no"))
    size = len(data) if length is None else length
    with worker() as (made, theirs):
        theirs.sendall((size.to_bytes(4, "big", signed=True) + data)[:cut])
        theirs.shutdown(socket.SHUT_RDWR)
        said(made)


STATUS: Final = {
    "runs": [{"path": "logs/a.jsonl", "left": 1}],
    "reach": "refused",
    "reach_words": "no",
}


@given(document=mutated(STATUS).map(lambda found: json.dumps(found).encode()) | st.binary())
def test_a_status_of_any_shape_is_understood_or_not_known(document: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(syncd_program, "ask", lambda *words: SimpleNamespace(stdout=document))
        found = syncd_program.pending("karaoke-syncd", Path("logs/a.jsonl"))
    assert isinstance(found, syncd_program.Pending)

"""Questions to the server, and every way in which they can go wrong told from the others."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path
from socket import gaierror
from typing import TYPE_CHECKING, Any

import pytest
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    ProtocolError,
    ProxyError,
)

from syncd.destination.base import Labels, RemoteRun, RunRef
from syncd.destination.wandb.api import Api, _last_step, _texted
from syncd.destination.wandb.credentials import Login
from syncd.destination.wandb.http import Answer, describe, retry_after
from syncd.errors import Refused, Unreachable
from tests.fakes.wandb_server import WandbServer
from tests.fakes.wandb_state import RunKey
from tests.fakes.wandb_world import World
from tests.patience import patience

if TYPE_CHECKING:
    from collections.abc import Iterator

ENTITY = "team"
NOW = 1_700_000_000.0


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbServer]:
    with WandbServer(
        tmp_path_factory.mktemp("server"), entity=ENTITY, world=World.PROMPT
    ) as server:
        yield server


@pytest.fixture
def wandb(stand_in: WandbServer) -> Iterator[WandbServer]:
    yield stand_in
    stand_in.clear()


def ask(wandb: WandbServer, **how: Any) -> Api:
    return Api(Login(wandb.url, how.pop("entity", ""), how.pop("key", wandb.key)), **how)


def test_who_we_are_is_the_servers_word_or_what_was_asked_for(wandb: WandbServer) -> None:
    assert ask(wandb).viewer() == ENTITY
    assert ask(wandb, entity="choir").viewer() == "choir"


def test_a_run_that_is_not_there_is_none(wandb: WandbServer) -> None:
    assert ask(wandb).remote_run(RunRef(ENTITY, "songs", "nobody")) is None


def test_a_runs_count_last_step_and_state(wandb: WandbServer) -> None:
    key = RunKey(ENTITY, "songs", "r1")
    wandb.store.upsert(key, {})
    assert ask(wandb).remote_run(RunRef(ENTITY, "songs", "r1")) == RemoteRun(0, -1, "running")
    wandb.store.append_foreign(key, {"_step": 0})
    wandb.store.append_foreign(key, {"_step": 1, "loss": float("nan")})
    wandb.store.record(key, "complete", exitcode=1)
    assert ask(wandb).remote_run(RunRef(ENTITY, "songs", "r1")) == RemoteRun(2, 1, "failed")


def test_labels_that_are_given_are_replaced_and_an_ended_run_stays_ended(
    wandb: WandbServer,
) -> None:
    key, ref = RunKey(ENTITY, "songs", "r3"), RunRef(ENTITY, "songs", "r3")
    assert not ask(wandb).label(ref, Labels(("a",)))
    assert ask(wandb).remote_run(ref) is None
    wandb.store.upsert(key, {"tags": ["old"], "notes": "kept", "config": '{"lr": {"value": 1}}'})
    wandb.store.record(key, "complete", exitcode=0)
    assert ask(wandb).label(ref, Labels(("a", "b"), group="g"))
    run = wandb.store.need(key)
    assert run.fields == {"tags": ["a", "b"], "notes": "kept", "groupName": "g"}
    assert (run.state, run.config) == ("finished", {"lr": {"value": 1}})


def test_a_foreign_line_without_a_step_is_this_runs_trouble_alone(wandb: WandbServer) -> None:
    key = RunKey(ENTITY, "songs", "r2")
    wandb.store.upsert(key, {})
    wandb.store.append_foreign(key, {"loss": 1})
    standing = ask(wandb).remote_run(RunRef(ENTITY, "songs", "r2"))
    assert standing is not None
    assert standing.count == 1
    assert standing.count != standing.last_step + 1


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ({"kind": "status", "status": 500}, "trouble", "is in trouble (HTTP 500)"),
        ({"kind": "status", "status": 503}, "trouble", "is in trouble (HTTP 503)"),
        ({"kind": "status", "status": 429}, "trouble", "is in trouble (HTTP 429)"),
        ({"kind": "status", "status": 400}, "trouble", "answered with an error: fault: 400"),
        ({"kind": "html"}, "captive", "is not a W&B server (HTTP 200, text/html)"),
        ({"kind": "truncate"}, "captive", "is not a W&B server (HTTP 200, application/json)"),
        ({"kind": "reset"}, "offline", "was cut"),
        ({"kind": "drop_reply"}, "offline", "was cut"),
        ({"kind": "hang"}, "offline", "does not answer"),
    ],
)
def test_trouble_that_everybody_waits_for(
    wandb: WandbServer, fault: dict[str, Any], kind: str, words: str
) -> None:
    wandb.fault(**fault)
    with pytest.raises(Unreachable) as error:
        ask(wandb, timeout=0.3 if fault["kind"] == "hang" else patience(15)).viewer()
    assert (error.value.kind, words in error.value.what) == (kind, True), error.value.what
    assert "safe on disk" in str(error.value)


def test_a_server_that_says_when_is_asked_then(wandb: WandbServer) -> None:
    wandb.fault("status", status=429, retry_after=17)
    with pytest.raises(Unreachable) as error:
        ask(wandb).viewer()
    assert error.value.retry_after == 17.0
    assert error.value.what.endswith("(HTTP 429); by its own words it may be asked again in 17 s")


@pytest.mark.parametrize(
    ("status", "kind", "command"),
    [(401, "not_logged_in", "wandb login --host"), (403, "refused", "wandb login --relogin")],
)
def test_a_refusal_is_the_users_to_mend(
    wandb: WandbServer, status: int, kind: str, command: str
) -> None:
    wandb.fault("status", status=status)
    with pytest.raises(Refused) as error:
        ask(wandb).viewer()
    assert (error.value.kind, command in error.value.remedy) == (kind, True)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("kind", ["page", "foreign_json"])
def test_a_refusal_of_what_is_in_between_is_not_the_accounts(
    wandb: WandbServer, status: int, kind: str
) -> None:
    wandb.fault(kind, status=status)
    ref = RunRef(ENTITY, "songs", "r1")
    for question in (
        lambda api: api.viewer(),
        lambda api: api.remote_run(ref),
        lambda api: api.upsert(ref, name="n", config="{}", program="", labels=Labels()),
        lambda api: api.file_stream(ref, b"{}"),
    ):
        with pytest.raises(Unreachable, match=f"not a W&B server .HTTP {status}, ") as error:
            question(ask(wandb))
        assert error.value.kind == "captive"


@pytest.mark.parametrize(
    ("project", "message", "error"),
    [
        ("permission-study", "permission denied", Refused),
        ("permission-study", "project permission-study is archived", Unreachable),
        ("not found", "project 'not found' is archived", Unreachable),
        ("denied", "you may not write to 'denied'", Unreachable),
    ],
)
def test_the_names_in_an_answer_say_nothing_about_it(
    project: str, message: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"data": {"model": None}, "errors": [{"message": message}]}
    api = Api(Login("http://127.0.0.1:9", "", "key"))
    monkeypatch.setattr(api, "http", Answers(json.dumps(told).encode()))
    with pytest.raises(error):
        api.remote_run(RunRef("team", project, "r1"))


def test_a_key_that_is_not_known_or_not_there_or_no_key(wandb: WandbServer) -> None:
    for key, words in (("b" * 40, "does not accept"), ("", "nobody is logged in")):
        with pytest.raises(Refused, match=words):
            ask(wandb, key=key).viewer()
    with pytest.raises(Refused, match="the login can't be used"):
        ask(wandb, key="kłucz").viewer()


def test_no_key_is_in_any_words(wandb: WandbServer) -> None:
    for fault in ("html", "reset", "truncate"):
        wandb.fault(fault, times=1)
        with pytest.raises(Unreachable) as error:
            ask(wandb).viewer()
        assert wandb.key not in str(error.value)


def test_nobody_listening_is_offline(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unreachable, match="refuses the connection"):
            Api(Login(url, "", "k" * 40)).viewer()


@pytest.mark.process
def test_a_certificate_that_nobody_vouches_for_is_offline(tmp_path: Path) -> None:
    with (
        WandbServer(tmp_path, tls=True) as server,
        pytest.raises(Unreachable, match=r"certificate of 127\.0\.0\.1 can't be verified"),
    ):
        ask(server).viewer()


def test_a_closed_server_is_asked_nothing(wandb: WandbServer) -> None:
    server = ask(wandb)
    server.close()
    with pytest.raises(Unreachable, match="the daemon is stopping"):
        server.viewer()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            ProxyError("x", OSError("Tunnel connection failed: 403")),
            "proxy does not let us reach h",
        ),
        (ProxyError("x", ConnectTimeoutError()), "the proxy on the way to h can't be reached"),
        (ProxyError("x", NameResolutionError("p", None, gaierror())), "proxy on the way to h"),
        (ConnectTimeoutError("x"), "no connection to h within"),
        (NameResolutionError("h", None, gaierror()), "name h can't be resolved"),
        (ProtocolError("x"), "h can't be reached (ProtocolError)"),
        (ProtocolError("h closed it"), "the connection to h was cut"),
    ],
)
def test_each_failed_request_has_its_words(error: HTTPError, words: str) -> None:
    assert words in describe(error, "h")


def test_a_hosts_name_says_nothing_about_its_trouble() -> None:
    error = ProtocolError("HTTPConnection(host='refused.closed.example', port=80): x")
    assert "can't be reached (ProtocolError)" in describe(error, "refused.closed.example")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("17", 17.0),
        (" 5 ", 5.0),
        ("99999999", 3600.0),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
        ("Tue, 14 Nov 2023 22:13:10 GMT", 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("٣", 3.0),
        ("²", 0.0),
        ("1000000000000", 3600.0),
        ("9" * 5000, 3600.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Tue, 01 Jan 2999 00:00:00 GMT", 3600.0),
        ("Fri, 31 Dec 99999999999999 23:59:59 GMT", 0.0),
        ("Tue, 14 Nov 2023 99999999999999999999:00:00 GMT", 0.0),
        ("Tue, 14 Nov 2023 22:13:50 +99999999999999", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float) -> None:
    assert retry_after(header, NOW) == seconds


@pytest.mark.parametrize(
    ("tail", "step"),
    [("[]", -1), (None, -1), ("", -1), ('["{\\"_step\\": 7}"]', 7), ([], -1),
     ('[{"_step": 7}]', 7), ('["{\\"_step\\": 7, \\"x\\": NaN}"]', 7)],
)  # fmt: skip
def test_the_last_step_is_read_from_the_tail(tail: object, step: int) -> None:
    assert _last_step(tail) == step


@pytest.mark.parametrize("depth", [600, 970, 100_000])
def test_what_is_nested_too_deep_to_be_written_again_says_nothing(depth: int) -> None:
    text = '{"a":' * depth + "1" + "}" * depth
    with contextlib.suppress(RecursionError):  # which makes it no W&B server's answer
        assert _texted({"summaryMetrics": text}, "summaryMetrics") == {}
    few = '{"a":' * 400 + "1" + "}" * 400
    assert _texted({"summaryMetrics": few}, "summaryMetrics") == json.loads(few)


class Answers:
    """A server that answers each request with the same."""

    def __init__(self, data: bytes) -> None:
        self._answer = Answer(200, {}, data)

    def post(self, *request: object) -> Answer:
        return self._answer


@pytest.mark.parametrize("data", [b"{}", b'{"data": null}', b'{"data": {}}', b'{"error": "busy"}'])
def test_an_answer_without_a_run_refuses_none(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api(Login("http://127.0.0.1:9", "", "key"))
    monkeypatch.setattr(api, "http", Answers(data))
    with pytest.raises(Unreachable):
        api.upsert(RunRef(ENTITY, "songs", "r"), name="r", config="{}", program="", labels=Labels())

"""One request over real sockets: a deadline for the whole answer, connections that are kept alive,
no redirect followed, and the key for the server alone."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import urllib3

from syncd.destination.base import RunRef
from syncd.destination.wandb import http
from syncd.destination.wandb.api import FILES, Api, Upload
from syncd.destination.wandb.credentials import Login
from syncd.destination.wandb.http import (
    MAX_ANSWER,
    SMALL_ANSWER,
    Answer,
    BadRequest,
    Http,
    TlsRefused,
)
from syncd.errors import Unreachable
from tests.fakes.wandb_http import self_signed, tls_context
from tests.patience import patience

Serve = Callable[[socket.socket], None]


@contextmanager
def server(serve: Serve) -> Iterator[str]:
    """Something that listens on 127.0.0.1 and serves each connection in a thread of its own."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    threading.Thread(target=quietly, args=(connection,), daemon=True).start()

        def quietly(connection: socket.socket) -> None:
            with closing(connection), suppress(OSError):
                serve(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def trickle(first: bytes, answered: int = 0) -> Serve:
    """A byte now and then, long before any timeout of a socket's, and never an end. answered: so
    many requests before."""

    def serve(connection: socket.socket) -> None:
        for _ in range(answered):
            whole_request(connection)
            connection.sendall(PLAIN)
        connection.recv(1 << 16)
        connection.sendall(first)
        while True:
            time.sleep(0.05)
            connection.sendall(b"1")

    return serve


def whole_request(connection: socket.socket) -> bytes:
    """Head and body, which may come apart; empty when there is no more."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(1 << 16)):
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    while len(body) < (int(length[1]) if length else 0):
        body += connection.recv(1 << 16)
    return head + b"\r\n\r\n" + body


def replying(answer: bytes, seen: list[bytes]) -> Serve:
    def serve(connection: socket.socket) -> None:
        while request := whole_request(connection):
            seen.append(request)
            connection.sendall(answer)

    return serve


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
    ids=["status", "headers", "body", "body without length", "chunks"],
)
@pytest.mark.parametrize("before", [0, 1], ids=["new", "kept"])
def test_an_answer_that_trickles_is_cut_at_its_deadline(first: bytes, before: int) -> None:
    with server(trickle(first, before)) as url:
        http = Http(url, "k", 0.5)
        for _ in range(before):
            http.post("/graphql", b"{}")
        begun = time.monotonic()
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1 does not answer"):
            http.post("/graphql", b"{}")
        assert time.monotonic() - begun < patience(5.0)


TLS_RECORD = b"\x16\x03\x03\x3e\x80"  # the head of a handshake of 16,000 bytes


def test_a_tls_handshake_that_trickles_is_cut_at_its_deadline() -> None:
    with (
        server(trickle(TLS_RECORD)) as url,
        pytest.raises(Unreachable, match=r"127\.0\.0\.1 does not answer"),
    ):
        Http(url.replace("http:", "https:"), "k", 0.5).post("/graphql", b"{}")


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """No name is looked up to its end before this is set."""
    found, look_up = threading.Event(), socket.getaddrinfo

    def slowly(*arguments: Any, **how: Any) -> Any:
        found.wait(patience(60))
        return look_up(*arguments, **how)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    yield found
    found.set()


def test_a_name_that_is_looked_up_for_ever_is_given_up_at_the_deadline(
    names: threading.Event,
) -> None:
    closed = threading.Event()

    def serve(connection: socket.socket) -> None:
        if not connection.recv(1):
            closed.set()

    with server(serve) as url:
        with pytest.raises(Unreachable, match="perhaps since no name server answers"):
            Http(url, "k", 0.3).post("/graphql", b"{}")
        names.set()
        assert closed.wait(patience(10)), "the connection that came later is left open"


def test_closing_ends_what_waits_for_a_name(names: threading.Event) -> None:
    http = Http("http://127.0.0.1:9", "k", 3600.0)
    threading.Timer(0.2, http.close).start()
    with pytest.raises(Unreachable):
        http.post("/graphql", b"{}")


def test_what_is_long_has_longer_to_be_sent_but_not_to_be_answered() -> None:
    """Eight MiB take longer than the half a second that the answer may."""
    sent = threading.Event()

    def serve(connection: socket.socket) -> None:
        left = 8 << 20
        while left > 0 and (data := connection.recv(1 << 20)):
            left -= len(data)
            time.sleep(0.02)
        sent.set()
        while True:
            time.sleep(0.05)
            connection.sendall(b"1")

    with server(serve) as url:
        begun = time.monotonic()
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1 does not answer"):
            Http(url, "k", 0.5).put(url, io.BytesIO(b"x" * (8 << 20)), {})
        assert sent.is_set(), "it was cut while it was sent"
        assert time.monotonic() - begun < patience(60), "the answer had the time of the sending"


def test_what_is_long_may_take_longer_to_be_sent_than_a_connection_to_be_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect = patience(0.5)
    monkeypatch.setattr("syncd.destination.wandb.http.CONNECT", connect)
    size, seen = 16 << 20, list[bytes]()

    def serve(connection: socket.socket) -> None:
        replying(PLAIN, seen)(Slow(connection))  # type: ignore[arg-type]

    class Slow:
        """Takes a sixteenth of it in an eighth of the time."""

        def __init__(self, connection: socket.socket) -> None:
            self.sendall = connection.sendall
            self._connection = connection

        def recv(self, _: int) -> bytes:
            data = self._connection.recv(1 << 20)
            time.sleep(connect / 8 * len(data) / (1 << 20))
            return data

    with server(serve) as url:
        http = Http(url, "k", patience(20.0))
        for _ in range(2):  # over a new connection, and one that was kept
            assert http.post("/x", b"x" * size).data == b"{}"
    assert [len(request.partition(b"\r\n\r\n")[2]) for request in seen] == [size, size]


@pytest.mark.parametrize("before", [0, 1], ids=["new", "kept"])
def test_an_answer_may_take_longer_than_a_connection_to_be_made(
    monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    connect = patience(0.3)
    monkeypatch.setattr("syncd.destination.wandb.http.CONNECT", connect)

    def serve(connection: socket.socket) -> None:
        for _ in range(before):
            whole_request(connection)
            connection.sendall(PLAIN)
        whole_request(connection)
        time.sleep(connect * 2)
        connection.sendall(PLAIN)

    with server(serve) as url:
        http = Http(url, "k", patience(20.0))
        for _ in range(before + 1):
            assert http.post("/x", b"{}").data == b"{}"


def test_closing_ends_what_is_under_way_and_lets_nothing_begin() -> None:
    with server(trickle(b"")) as url:
        http = Http(url, "k", 60.0)
        threading.Timer(0.2, http.close).start()
        with pytest.raises(Unreachable):
            http.post("/graphql", b"{}")
        with pytest.raises(Unreachable, match="the daemon is stopping"):
            http.post("/graphql", b"{}")
        with pytest.raises(Unreachable, match="the daemon is stopping"):
            http.pause(0)


def test_a_deadline_that_is_over_cuts_nobody_elses_request() -> None:
    """The socket that a request gave back is the next one's."""
    seen: list[bytes] = []
    with server(replying(PLAIN, seen)) as url:
        http = Http(url, "k", 0.3)
        for _ in range(4):
            assert http.post("/x", b"{}").json() == {}
            time.sleep(0.2)


PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
GZIPPED = gzip.compress(b"{}")
# An answer -> whether its connection serves a further request
ANSWERS = {
    "plain": (PLAIN, True),
    "with headers": (
        b"HTTP/1.1 429 Slow down\r\nRETRY-After:  7 \r\nRateLimit-Remaining: 0\r\n"
        b"X: a:b\r\nX: c\r\nX-Latin: \xe4\r\n"
        b"Connection: Keep-Alive\r\nContent-Length: 3\r\n\r\nno\n",
        True,
    ),
    "nothing": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
    "no reason": (b"HTTP/1.1 500\r\nContent-Length: 1\r\n\r\nx", True),
    "long": (b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000, True),
    "chunks": (CHUNKED, True),
    "a body of none": (b"HTTP/1.1 204 Nothing\r\nX: y\r\n\r\n", True),
    "gzip": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
        % (len(GZIPPED), GZIPPED),
        True,
    ),
    "more is to come": (b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN, True),
    "much is to come": (b"HTTP/1.1 100 Continue\r\n\r\n" * 200 + PLAIN, True),
    "early hints": (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 2 + PLAIN, True),
    "bare newlines": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", True),
    "a length twice": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        True,
    ),
    "a portal's redirect": (b"HTTP/1.1 302 F\r\nLocation: /x\r\nContent-Length: 1\r\n\r\nx", True),
    "the last one": (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        False,
    ),
    "an old server": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", False),
    "another protocol": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", False),
    "a folded header": (b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\n{}", True),
    "much of a head": (
        b"HTTP/1.1 200 OK\r\nX: %b\r\nContent-Length: 2\r\n\r\n{}" % (b"y" * 60_000),
        True,
    ),
    "chunks and a length": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + CHUNKED.partition(b"\r\n")[2],
        True,
    ),
}
# How much of an answer comes first, the rest a moment later
PIECES = {"at once": 0, "after its first byte": 1, "in the head": 30, "in the body": -1}


@pytest.mark.parametrize("cut", PIECES)
@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_over_a_connection_that_was_kept_is_as_over_a_new_one(
    kind: str, cut: str
) -> None:
    answer, reusable = ANSWERS[kind]
    answers, made, seen = iter([answer, PLAIN, answer, PLAIN]), list[int](), list[bytes]()

    def serve(connection: socket.socket) -> None:
        made.append(1)
        while request := whole_request(connection):
            seen.append(request)
            data = next(answers)
            connection.sendall(data[: PIECES[cut]])
            if PIECES[cut]:
                time.sleep(0.01)
            connection.sendall(data[PIECES[cut] :])

    headers = {"Content-Encoding": "x"}
    with server(serve) as url:
        new = Http(url, "k", patience(5.0)).post("/x/a%20b?c=d", b"body", headers)
        kept = Http(url, "k", patience(5.0))
        assert kept.post("/x", b"{}").data == b"{}"
        again = kept.post("/x/a%20b?c=d", b"body", headers)
        assert (again.status, again.data) == (new.status, new.data)
        assert on_one_line(again.headers) == on_one_line(new.headers)
        assert kept.post("/x", b"{}").data == b"{}"
    # One for the first, and one that serves all others as long as it can
    assert len(made) == (2 if reusable else 3)
    assert as_read(seen[2]) == as_read(seen[0])


def on_one_line(headers: Mapping[str, str]) -> dict[str, str]:
    """Names in lower case, and what was folded as one line."""
    return {name.lower(): " ".join(value.split()) for name, value in headers.items()}


def test_what_comes_behind_an_answer_is_no_answer_to_the_next_request() -> None:
    unasked = b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"
    answers, made = iter([PLAIN, PLAIN + unasked, PLAIN]), list[int]()

    def serve(connection: socket.socket) -> None:
        made.append(1)
        while whole_request(connection):
            connection.sendall(next(answers))

    with server(serve) as url:
        http = Http(url, "k", patience(5.0))
        assert [http.post("/x", b"{}").status for _ in range(3)] == [200] * 3
    assert len(made) == 2


def test_a_plain_answer_to_a_post_takes_neither_urllib3_nor_http_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with server(replying(PLAIN, [])) as url:
        http = Http(url, "k", patience(5.0))
        http.post("/x", b"{}")
        monkeypatch.setattr(urllib3.HTTPConnectionPool, "urlopen", None)
        monkeypatch.setattr("http.client.HTTPResponse", None)
        assert http.post("/x", b"{}").data == b"{}"


def as_read(request: bytes) -> tuple[bytes, set[bytes], bytes]:
    """Its first line, its headers in whichever order and case of their names, and its body."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    pairs = (line.partition(b": ") for line in lines)
    return first, {name.lower() + b": " + value for name, _, value in pairs}, body


def test_connections_are_kept_alive() -> None:
    seen: list[bytes] = []
    made: list[int] = []

    def serve(connection: socket.socket) -> None:
        made.append(1)
        replying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", seen)(connection)

    with server(serve) as url:
        http = Http(url, "k", 5.0)
        for _ in range(5):
            http.post("/x", b"{}")
    assert (len(seen), len(made)) == (5, 1)


@pytest.mark.process
def test_over_tls_too_connections_are_kept_alive_and_answers_have_a_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        certificate, _ = self_signed(tmp_path)
    except OSError as error:
        pytest.skip(f"no openssl: {error.strerror}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    tls, made, seen = tls_context(tmp_path), list[int](), list[bytes]()

    def serve(connection: socket.socket) -> None:
        made.append(1)
        with tls.wrap_socket(connection, server_side=True) as secured:
            for _ in range(2):
                seen.append(whole_request(secured))
                secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            trickle(b"HTTP/1.1 200 OK\r\n\r\n")(secured)

    with server(serve) as url:
        http = Http(url.replace("http:", "https:"), "k", 2.0)
        for _ in range(2):
            assert http.post("/x", b"{}").json() == {}
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1 does not answer"):
            http.post("/x", b"{}")
    assert (len(seen), len(made)) == (2, 1)


def test_connections_of_a_few_hosts_are_kept_however_many_a_server_names() -> None:
    seen: list[bytes] = []
    http = Http("http://127.0.0.1:9", "k", patience(5.0))
    with ExitStack() as stack:
        hosts = [
            stack.enter_context(
                server(replying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", seen))
            )
            for _ in range(12)
        ]
        for url in (*hosts, *hosts):
            assert http.put(f"{url}/file", io.BytesIO(b"data"), {}).status == 200
        assert len(http._ways) < len(hosts)
        http.close()
    assert len(seen) == 2 * len(hosts)


EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def test_a_file_is_put_from_where_it_is_read_to_the_servers_own_link() -> None:
    seen: list[bytes] = []
    with server(replying(EMPTY, seen)) as url:
        body = io.BytesIO(b"before that")
        body.seek(7)
        Http(f"{url}/below", "k", 5.0).put("/files/a.png", body, {})
    assert seen[0].startswith(b"PUT /below/files/a.png HTTP/1.1\r\n")
    assert seen[0].endswith(b"\r\n\r\nthat")


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("/a?b=c#part", "/a?b=c"),  # a fragment is the browser's own
        ("?b=c", "/?b=c"),
        ("", "/"),
    ],
)
def test_a_link_is_asked_for_without_what_a_server_is_not_told(asked: str, sent: str) -> None:
    seen: list[bytes] = []
    with server(replying(EMPTY, seen)) as url:
        Http(url, "k", 5.0).put(url + asked, io.BytesIO(b"data"), {})
    assert seen[0].startswith(b"PUT %s HTTP/1.1\r\n" % sent.encode())


def test_a_file_that_became_shorter_is_no_whole_request() -> None:
    class Shrinks(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return b""

    seen: list[bytes] = []
    with server(replying(EMPTY, seen)) as url, pytest.raises(Unreachable, match="was cut"):
        Http(url, "k", 5.0).put(f"{url}/a", Shrinks(b"data"), {})
    assert seen == []


@pytest.mark.parametrize(
    ("name", "address", "login", "bypassed"),
    [
        ("http_proxy", "{proxy}", b"", False),
        ("http_proxy", "http://anna:word@{proxy}", b"YW5uYTp3b3Jk", False),
        ("http_proxy", "http://anna@{proxy}", b"YW5uYTo=", False),
        ("all_proxy", "http://{proxy}", b"", False),
        ("http_proxy", "http://{proxy}", b"", True),
    ],
)
def test_a_proxy_of_the_environment_is_asked_unless_it_is_left_out(
    name: str, address: str, login: bytes, bypassed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in ("http_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(other, raising=False)
    to_proxy, direct = list[bytes](), list[bytes]()
    with server(replying(EMPTY, to_proxy)) as proxy, server(replying(EMPTY, direct)) as url:
        monkeypatch.setenv(name, address.format(proxy=proxy.removeprefix("http://")))
        if bypassed:
            monkeypatch.setenv("no_proxy", "127.0.0.1")
        Http(url, "k", 5.0).post("/graphql", b"{}")
    assert (len(to_proxy), len(direct)) == ((0, 1) if bypassed else (1, 0))
    if to_proxy:
        assert to_proxy[0].startswith(f"POST {url}/graphql HTTP/1.1\r\n".encode())
        assert (b"proxy-authorization: basic " in to_proxy[0].lower()) == bool(login)
        assert login in to_proxy[0]


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    seen: list[bytes] = []
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    with server(replying(moved, seen)) as url:
        answer = Http(url, "k", 5.0).post("/x", b"{}")
    assert (answer.status, len(seen)) == (302, 1)


def test_the_key_goes_to_the_server_and_not_to_the_links_that_it_gives() -> None:
    seen: list[bytes] = []
    with server(replying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", seen)) as url:
        http = Http(url, "secret", 5.0)
        http.post("/graphql", b"{}")
        http.put(f"{url}/somewhere", io.BytesIO(b"data"), {})
        http.head()
    assert [b"authorization" in request.lower() for request in seen] == [True, False, False]


def test_a_server_does_not_say_where_the_requests_that_bring_files_end_or_go() -> None:
    """It could have a picture's bytes taken for requests, by a host that trusts this machine."""
    seen: list[bytes] = []
    given = {
        "content-length": "1", "Transfer-Encoding": "chunked", "transfer-encoding ": "chunked",
        "Host": "elsewhere", "Connection": "upgrade", "X-Amz-Acl": "private",
    }  # fmt: skip
    with server(replying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", seen)) as url:
        Http(url, "secret", 5.0).put(f"{url}/there", io.BytesIO(b"data"), given)
    head = seen[0].partition(b"\r\n\r\n")[0].lower()
    assert head.count(b"content-length") == head.count(b"\r\nhost:") == 1
    assert b"content-length: 4" in head
    assert b"x-amz-acl: private" in head
    for word in (b"chunked", b"elsewhere", b"upgrade"):
        assert word not in head


def test_a_history_may_be_longer_than_other_answers() -> None:
    row = b'{\\"_step\\": 0, \\"text\\": \\"' + b"x" * SMALL_ANSWER + b'\\"}'
    body = b'{"data": {"project": {"run": {"history": ["' + row + b'"]}}}}'
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with server(replying(head + body, [])) as url:
        (row_there,) = Api(Login(url, "", "k"), patience(5.0)).rows(RunRef("e", "p", "r"), 0, 1)
    assert len(row_there["text"]) == SMALL_ANSWER


def test_an_answer_that_would_fill_the_memory_once_it_is_parsed_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where it is text in an answer, and is parsed after it."""
    inner = json.dumps({"_step": 0, "many": [[]] * 20})
    for history in ([[]] * 20, [inner]):
        whole = Answer(200, {}, json.dumps({"history": history}).encode())
        assert whole.json()["history"]
        with monkeypatch.context() as patch:
            patch.setattr(http, "MAX_VALUES", 20)
            with pytest.raises(ValueError, match="too many values"):
                whole.json()


def test_what_a_run_of_many_names_has_is_answered() -> None:
    count = {
        "typeCounts": [{"type": "number", "count": 20}],
        "monotonic": False,
        "previousValue": 1,
    }
    keys = {f"train_metrics/metric_{number:06d}": count for number in range(100_000)}
    data = json.dumps({"data": {"historyKeys": {"keys": keys}}}).encode()
    assert len(data) < MAX_ANSWER
    assert len(Answer(200, {}, data).json()["data"]["historyKeys"]["keys"]) == 100_000


def test_so_many_links_as_files_are_announced_at_once_may_be_long_ones() -> None:
    names = [f"media/images/{number}.png" for number in range(FILES)]
    link = b"https://files.test/?token=" + b"x" * 2000 + b"\\u0026signature=" + b"y" * 400
    files = b",".join(b'{"name": "%s", "uploadUrl": "%s"}' % (n.encode(), link) for n in names)
    body = b'{"data": {"createRunFiles": {"uploadHeaders": [], "files": [' + files + b"]}}}"
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with server(replying(head + body, [])) as url:
        api = Api(Login(url, "", "k"), patience(5.0))
        made = api.create_files(RunRef("e", "p", "r"), names)
    assert [upload.name for upload in made] == names


HOSTILE = {
    "a gzip bomb": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
    + gzip.compress(bytes(80 << 20), 1),
    "broken gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
    "pieces of no size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nabc",
    "pieces of a negative size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc",
    "a size beyond all": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\nabc",
    "two sizes": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nabc",
    "a long header": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"Set-Cookie: a=b\r\n" * 5000 + b"\r\n",
    "no number": b"HTTP/1.1 abc OK\r\n\r\n",
    "no HTTP": b"SSH-2.0-x\r\n",
    "less than announced": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    "nothing": b"",
    "too much": b"HTTP/1.1 200 OK\r\n\r\n" + bytes(SMALL_ANSWER + 1),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("before", [0, 1], ids=["new", "kept"])
def test_an_answer_that_is_no_http_is_the_servers_fault_and_never_the_logins(
    kind: str, before: int
) -> None:
    def serve(connection: socket.socket) -> None:
        for _ in range(before):
            whole_request(connection)
            connection.sendall(PLAIN)
        whole_request(connection)
        connection.sendall(HOSTILE[kind])

    with server(serve) as url:
        http = Http(url, "k", patience(20.0))
        for _ in range(before):
            http.post("/x", b"{}")
        with suppress(Unreachable):
            assert len(http.post("/x", b"{}").data) <= SMALL_ANSWER


@pytest.mark.parametrize(
    "link", ["ftp://h/x", "file:///etc/passwd", "http://[", "x", "http://h:no/"]
)
def test_a_link_that_is_none_is_the_servers_fault(link: str) -> None:
    api = Api(Login("http://127.0.0.1:9", "", "k"), 1.0)
    with pytest.raises(Unreachable, match="the place that it names for a file is none"):
        api.put_file(Upload("a", link, {"X": "a\r\nb"}), io.BytesIO(b"data"))


def test_an_account_without_end_is_none() -> None:
    body = b'{"data": {"viewer": {"entity": "' + b"x" * 1_000_000 + b'"}}}'
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with server(replying(head + body, [])) as url, pytest.raises(Unreachable) as caught:
        Api(Login(url, "", "k"), 5.0).viewer()
    assert len(str(caught.value)) < 1000


def test_a_key_that_fits_no_request_is_the_logins_fault() -> None:
    with pytest.raises(BadRequest):
        Http("http://127.0.0.1:9", "kä\u20ac", 1.0).post("/x", b"{}")


def test_an_answer_is_never_shown_whole() -> None:
    assert "secret" not in repr(Answer(200, {"x": "secret"}, b"secret"))


def test_authorities_that_would_be_waited_for_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(bundle := tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with pytest.raises(TlsRefused, match="can't be read: it is no regular file but a FIFO"):
        Http("https://127.0.0.1:9", "key", 5.0).head()

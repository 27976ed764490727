"""HTTP for the W&B stand-in: connections, keep-alive, TLS, and faults performed on the wire."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import select
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import zlib
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.fakes.faults import Fault, FaultBoard, Request, RequestLog

PORTAL = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Accept</body></html>"
TOO_LARGE = b"<html><head><title>413 Request Entity Too Large</title></head></html>"
TRICKLE_S = 0.2  # between the bytes of an answer that trickles
POLL_S = 0.02  # how soon a hanging request notices that it need not hang any more


@dataclass(frozen=True)
class Call:
    """One HTTP request as it came in."""

    method: str
    path: str
    authorization: str
    url: str  # scheme, host and port under which the client reached us
    body: bytes  # as it was meant: unpacked
    size: int = 0  # bytes of the body as sent
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case


@dataclass(frozen=True)
class Reply:
    """What goes back over the wire."""

    status: int = 200
    body: bytes = b"{}"
    content_type: str = "application/json"
    retry_after: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def json_reply(
    value: object,
    status: int = 200,
    retry_after: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    return Reply(status, json.dumps(value).encode(), retry_after=retry_after, headers=headers or {})


class App(Protocol):
    """What answers: `see` tells what a call is, `meet` which fault it gets, `respond` does it."""

    board: FaultBoard
    log: RequestLog

    def see(self, call: Call) -> Request: ...

    def meet(self, request: Request) -> Fault | None: ...

    def respond(self, call: Call, request: Request, fault: Fault | None) -> Reply: ...


class Listener:
    """Serves an App on one port of 127.0.0.1, and can leave that port and come back to it."""

    def __init__(self, app: App, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._app = app
        self._tls = tls
        self._http: _Http | None = None
        self._thread: threading.Thread | None = None
        self._held: socket.socket | None = None
        self.port = port
        self._lock = threading.Lock()

    def open(self) -> None:
        """Listen; a second call changes nothing. The first one with port 0 picks the port."""
        with self._lock:
            if self._http is not None:
                return
            self._http = _Http(("127.0.0.1", self.port), _Handler)
            self._http.app = self._app
            self._http.scheme = "https" if self._tls else "http"
            if self._tls:
                self._http.socket = self._tls.wrap_socket(
                    self._http.socket, server_side=True, do_handshake_on_connect=False
                )
            self.port = self._http.server_address[1]
            self._let_go()
            self._thread = threading.Thread(
                target=self._http.serve_forever, args=(POLL_S,), name="wandb-stand-in", daemon=True
            )
            self._thread.start()

    def refuse(self) -> None:
        """Close, and have nobody else take the port: bound and not listened at, it refuses."""
        self.close()
        with self._lock:
            self._held = socket.socket()
            self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._held.bind(("127.0.0.1", self.port))

    def close(self) -> None:
        """Stop listening and reset what is connected: from here on, connections are refused."""
        with self._lock:
            self._let_go()
            if self._http is None or self._thread is None:
                return
            self._http.shutdown()
            self._thread.join()
            self._http.server_close()
            self._http.reset_all()
            self._http = None

    def _let_go(self) -> None:
        if self._held:
            self._held.close()
            self._held = None


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    app: App
    scheme: str

    def __init__(self, *args: Any) -> None:
        self.stopped = False
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def reset_all(self) -> None:
        self.stopped = True
        with self._open_lock:
            for connection in self._open:
                linger_none(connection)
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is its own affair; anything else is a fault of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def _serve(self) -> None:
        call = self._read()
        app = self.server.app
        request = app.see(call)
        fault = app.meet(request)
        if fault is not None and fault.seconds:
            time.sleep(fault.seconds)
        kind = fault.kind if fault else ""
        if kind in ("hang", "reset"):
            app.log.add(request, 0, fault)
            self._hang() if kind == "hang" else self._reset()
            return
        reply = app.respond(call, request, fault)
        dropped = kind in ("drop_reply", "reset_reply")
        app.log.add(request, 0 if dropped else reply.status, fault)
        if kind == "drop_reply":
            self.close_connection = True
        elif kind == "trickle":
            self._trickle()
        else:
            self._write(reply, kind)

    do_GET = do_POST = do_PUT = do_HEAD = _serve  # noqa: N815  (http.server's names)

    def _read(self) -> Call:
        sent = body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            with contextlib.suppress(OSError, EOFError, zlib.error):  # what isn't gzip stays as is
                body = gzip.decompress(sent)
        return Call(
            method=self.command,
            path=urlsplit(self.path).path,
            authorization=self.headers.get("Authorization", ""),
            url=f"{self.server.scheme}://{self.headers.get('Host', '')}",
            body=body,
            size=len(sent),
            headers={name.lower(): value for name, value in self.headers.items()},
        )

    def _write(self, reply: Reply, kind: str) -> None:
        body = reply.body
        if kind == "truncate":
            body = body[: len(body) // 2]
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(body)))
        if reply.retry_after is not None:
            self.send_header("Retry-After", f"{reply.retry_after:g}")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if kind == "reset_reply":
            self.wfile.write(body[: len(body) // 2])
            self._reset()
        elif self.command != "HEAD":
            self.wfile.write(body)

    def _reset(self) -> None:
        """End the connection with a TCP reset, which needs closing it under everybody's hands."""
        self.close_connection = True
        linger_none(self.connection)
        os.close(self.connection.detach())

    def _trickle(self) -> None:
        """A body without an end, long before any timeout between two bytes."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        board = self.server.app.board
        generation = board.generation
        while board.generation == generation and not self.server.stopped:
            self.wfile.write(b" ")
            if select.select([self.connection], [], [], TRICKLE_S)[0]:
                return

    def _hang(self) -> None:
        """Say nothing until the faults are cleared or the client has gone."""
        self.close_connection = True
        board = self.server.app.board
        generation = board.generation
        while board.generation == generation and not self.server.stopped:
            if select.select([self.connection], [], [], POLL_S)[0]:
                return

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (http.server's name)
        """Nothing on stderr; the request log has it."""


def linger_none(connection: socket.socket) -> None:
    """Make the next close of this connection a TCP reset."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate and its key for 127.0.0.1 that nobody vouches for, made by openssl."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    if not certificate.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        )
        names = [
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:wandb.test",
        ]
        files = ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return certificate, key


def tls_context(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*self_signed(folder))
    return context

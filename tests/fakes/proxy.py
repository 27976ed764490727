"""A proxy on 127.0.0.1: forwards plain HTTP, tunnels CONNECT, takes every name for 127.0.0.1.

What it carried is in `carried`, one `METHOD host:port` a request; `down` and `up` take it away
and bring it back under the same port.
"""

from __future__ import annotations

import http.client
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from tests.patience import patience

if TYPE_CHECKING:
    from types import TracebackType

_HOP = {"connection", "proxy-connection", "keep-alive", "transfer-encoding"}  # RFC 9110, 7.6.1


class Proxy:
    """A proxy that serves from `__enter__` to `__exit__`."""

    def __init__(self) -> None:
        self.carried: list[str] = []
        self.port = 0
        self._http: _Http | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        """Listen, from the second time on at the same port."""
        self._http = _Http(("127.0.0.1", self.port), _Handler)
        self._http.proxy = self
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        """Refuse connections; those that are open end with their next request."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    proxy: Proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """Either side may go away at any time."""


class _Handler(BaseHTTPRequestHandler):
    server: _Http  # HTTP/1.0: a connection a request, so that `down` is down at once

    def _forward(self) -> None:
        target = urlsplit(self.path)
        self.server.proxy.carried.append(f"{self.command} {target.netloc}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {key: value for key, value in self.headers.items() if key.lower() not in _HOP}
        upstream = http.client.HTTPConnection("127.0.0.1", target.port or 80, timeout=patience(30))
        try:
            path = target.path + (f"?{target.query}" if target.query else "")
            upstream.request(self.command, path, body, headers)
            answer = upstream.getresponse()
            content = answer.read()
        except OSError:
            self.send_error(502)
            return
        finally:
            upstream.close()
        self.send_response(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in _HOP | {"date", "server", "content-length"}:
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _forward  # noqa: N815  (http.server's names)

    def do_CONNECT(self) -> None:
        self.server.proxy.carried.append(f"CONNECT {self.path}")
        self.close_connection = True
        with socket.create_connection(("127.0.0.1", int(self.path.rpartition(":")[2]))) as upstream:
            self.send_response(200)
            self.end_headers()
            sides = {self.connection: upstream, upstream: self.connection}
            while self.server.proxy._http is self.server:
                for side in select.select(sides, [], [], 0.1)[0]:
                    data = side.recv(1 << 16)
                    if not data:
                        return
                    sides[side].sendall(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing on stderr."""

"""A W&B server of our own on 127.0.0.1, good enough for the unmodified wandb 0.31 SDK.

    with WandbServer(tmp_path) as server:
        wandb.init(settings=wandb.Settings(base_url=server.url, api_key=server.key), …)
        server.history("run-id")

or as a process: ``python -m tests.fakes.wandb_server --port 0 --state DIR --port-file FILE``.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import re
import signal
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self, TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tests.fakes.wandb_graphql import Graphql
from tests.fakes.wandb_state import Json, Refusal, RunKey, Store, dump_run
import contextlib

if TYPE_CHECKING:
    from types import TracebackType

KEY = "0123456789abcdef0123456789abcdef01234567"  # of the right shape, and nobody's
ENTITY = "tester"
STREAM_PATH = re.compile(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream")
STORAGE_PATH = re.compile(r"/(?:_storage|files)/([^/]+)/([^/]+)/([^/]+)/(.+)")


@dataclass(frozen=True)
class Reply:
    """What goes back over the wire."""

    status: int = 200
    body: bytes = b"{}"
    content_type: str = "application/json"


def json_reply(value: object, status: int = 200) -> Reply:
    return Reply(status, json.dumps(value).encode())


class WandbServer:
    """The stand-in within this process; serves from `__enter__` (or `start`) to `close`."""

    def __init__(self, state_dir: Path, *, port: int = 0, entity: str = ENTITY) -> None:
        self.key = KEY
        self.entity = entity
        self.store = Store(Path(state_dir))
        self.graphql = Graphql(self.store, entity)
        self._http = _Http(("127.0.0.1", port), _Handler)
        self._http.app = self
        self.port: int = self._http.server_address[1]
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.02,), name="wandb-stand-in", daemon=True
        )
        self._thread.start()
        return self

    def close(self) -> None:
        if self._thread is not None:
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- what tests look at ---

    def dump(self) -> Json:
        """entity -> project -> run id -> run; see `wandb_state.dump_run`."""
        return self.store.dump()

    def run(self, run_id: str) -> Json:
        """The one run of that id, in whichever project; KeyError when there is none."""
        found = [run for key, run in self.store.runs.items() if key.run == run_id]
        if len(found) != 1:
            raise KeyError(f"{len(found)} runs have the id {run_id!r}")
        with self.store.lock:
            return dump_run(found[0])

    def history(self, run_id: str) -> list[Json]:
        """The run's history rows, by line."""
        rows: list[Json] = self.run(run_id)["history"]
        return rows

    # --- what the wire asks ---

    def respond(self, method: str, path: str, authorization: str, url: str, body: bytes) -> Reply:
        """The reply to one request."""
        if found := STORAGE_PATH.fullmatch(path):
            parts = [unquote(part) for part in found.groups()]
            if method == "PUT":
                self.store.put_file(RunKey(*parts[:3]), parts[3], body)
                return Reply()
        if path == "/healthz":
            return json_reply({"status": "ok"})
        if not self._knows(authorization):
            return json_reply({"errors": [{"message": "invalid API key"}]}, 401)
        try:
            if path == "/graphql":
                request = json.loads(body)
                return json_reply({"data": self.graphql.answer(request, url=url)})
            if method == "POST" and (found := STREAM_PATH.fullmatch(path)):
                key = RunKey(*(unquote(part) for part in found.groups()))
                self.store.stream(key, json.loads(body))
                return json_reply({"exitcode": None, "limits": {}})
        except Refusal as refusal:
            return json_reply({"errors": [{"message": refusal.message}]}, refusal.status)
        return json_reply({"errors": [{"message": f"no such page: {path}"}]}, 404)

    def _knows(self, authorization: str) -> bool:
        scheme, _, value = authorization.partition(" ")
        return scheme == "Basic" and base64.b64decode(value) == f"api:{self.key}".encode()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    app: WandbServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is its own affair; anything else is a fault of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        app = self.server.app
        url = f"http://{self.headers.get('Host', f'127.0.0.1:{app.port}')}"
        path = urlsplit(self.path).path
        reply = app.respond(self.command, path, self.headers.get("Authorization", ""), url, body)
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_POST = do_PUT = do_HEAD = _serve

    def log_message(self, format: str, *args: Any) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description="A W&B server on 127.0.0.1 for tests.")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--state", type=Path, required=True, help="folder that keeps the runs")
    parser.add_argument("--port-file", type=Path, help="where to write the port once it listens")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with WandbServer(options.state, port=options.port) as server:
        if options.port_file:
            draft = options.port_file.with_name(options.port_file.name + ".tmp")
            draft.write_text(f"{server.port}\n")
            draft.replace(options.port_file)
        print(f"{server.url} key {server.key}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()

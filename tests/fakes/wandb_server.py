"""A W&B server of our own on 127.0.0.1, good enough for the unmodified wandb 0.31 SDK.

    with WandbServer(tmp_path) as server:
        wandb.init(settings=wandb.Settings(base_url=server.url, api_key=server.key), …)
        server.history("run-id")

or as a process, ``python -m tests.fakes.wandb_server --port 0 --state DIR --port-file FILE``,
which `wandb_process.WandbProcess` starts, drives and stops. How it behaves where clients can't rely
on a server is a `World`; the default is the nearest to the real one. Strict about the places of
lines: a post that left a gap is kept in the run's `gaps` (and where gaps are refused, in its
`errors`), a line written over with other content in its `overwrites`, equal lines sent again are
counted in `rewrites`.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import contextlib
import json
import re
import signal
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

from tests.fakes.faults import Endpoint, Fault, FaultBoard, Kind, Request, RequestLog, Seen
from tests.fakes.wandb_graphql import Ask, Graphql, operation_name
from tests.fakes.wandb_http import (
    PORTAL,
    TOO_LARGE,
    Call,
    Listener,
    Reply,
    json_reply,
    tls_context,
)
from tests.fakes.wandb_limits import Limiter
from tests.fakes.wandb_state import Json, RefusalError, RunKey, Store, dump_run
from tests.fakes.wandb_world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

KEY = "0123456789abcdef0123456789abcdef01234567"  # of the right shape, and nobody's
ENTITY = "tester"
STREAM_PATH = re.compile(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream")
STORAGE_PATH = re.compile(r"/(?:_storage|files)/([^/]+)/([^/]+)/([^/]+)/(.+)")
CONTROL_PATH = "/_control"


class WandbServer:
    """The stand-in within this process; serves from `__enter__` (or `start`) to `close`.

    `tls` makes it https with a certificate nobody vouches for (`ca_file`). A `hook` sees every
    request first, on a server thread, and may give it a fault.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        port: int = 0,
        entity: str = ENTITY,
        tls: bool = False,
        world: World = World.DEFAULT,
    ) -> None:
        self.key = KEY
        self.entity = entity
        self.store = Store(Path(state_dir), world)
        self.limiter = Limiter()
        self.graphql = Graphql(self.store, entity, self.limiter)
        self.board = FaultBoard()
        self.log = RequestLog()
        self.hook: Callable[[Request], Fault | None] | None = None
        folder = Path(state_dir) / "tls"
        self.ca_file = folder / "cert.pem" if tls else None
        self._scheme = "https" if tls else "http"
        self._listener = Listener(self, port, tls_context(folder) if tls else None)
        self._listener.open()

    @property
    def port(self) -> int:
        return self._listener.port

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.board.clear()
        self._listener.close()

    def __enter__(self) -> Self:
        return self

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
        with self.store.lock:
            return dump_run(self.store.runs[self._find(run_id)])

    def history(self, run_id: str) -> list[Json]:
        """The run's history rows, by line."""
        rows: list[Json] = self.run(run_id)["history"]
        return rows

    def requests(self) -> list[Seen]:
        return self.log.all()

    def counts(self) -> dict[str, int]:
        """Requests by endpoint, and by GraphQL operation as `graphql:NAME`."""
        return self.log.counts()

    def unknown(self) -> list[str]:
        """GraphQL operations that came and that this server does not know."""
        return list(self.graphql.unknown)

    # --- what tests do to it ---

    def fault(self, kind: Kind, **how: Any) -> None:
        """Put a fault in force; see `faults.Fault` for the kinds and fields."""
        self.board.add(Fault(kind, **how))

    @property
    def world(self) -> World:
        return self.store.world

    def change_world(self, world: World) -> None:
        """Behave otherwise from the next request on; what is there stays."""
        self.store.world = world

    def clear(self) -> None:
        """End all faults, `refuse` included; requests that hang are let go without an answer."""
        self.board.clear()
        self._listener.open()

    def refuse(self) -> None:
        """Listen no more, resetting what is connected, until `clear`."""
        self._listener.refuse()

    def delete_run(self, run_id: str) -> None:
        """As the user's click on delete: the run is gone and its id is refused from now on."""
        self.store.delete(self._find(run_id))

    def forget_run(self, run_id: str) -> None:
        """Remove a run without a trace: its id may come again."""
        self.store.forget(self._find(run_id))

    def append_foreign(self, run_id: str, row: Mapping[str, Any]) -> int:
        """Somebody else writes one more history line to a run; returns the line's place."""
        return self.store.append_foreign(self._find(run_id), row)

    def crash_run(self, run_id: str) -> None:
        """What W&B does by itself when a run has sent no sign of life for about five minutes."""
        self.store.upsert(self._find(run_id), {"state": "crashed"})

    def _find(self, run_id: str) -> RunKey:
        with self.store.lock:
            found = [key for key in self.store.runs if key.run == run_id]
        if len(found) != 1:
            raise KeyError(f"{len(found)} runs have the id {run_id!r}")
        return found[0]

    # --- what the wire asks ---

    def see(self, call: Call) -> Request:
        """What a call is, for faults, hooks and the log."""
        if call.path == "/graphql":
            with contextlib.suppress(ValueError):
                body = json.loads(call.body)
                variables = body.get("variables") or {}
                run = variables.get("run") or variables.get("name") or variables.get("runName")
                return self._request(call, "graphql", operation_name(body), run or "", body)
        if found := STREAM_PATH.fullmatch(call.path):
            with contextlib.suppress(ValueError):
                run_id = unquote(found.group(3))
                return self._request(call, "file_stream", "", run_id, json.loads(call.body))
        if found := STORAGE_PATH.fullmatch(call.path):
            return self._request(call, "files", "", unquote(found.group(3)), None)
        return self._request(call, "other", "", "", None)

    def _request(
        self, call: Call, endpoint: Endpoint, operation: str, run: str, body: Any
    ) -> Request:
        agent = call.headers.get("user-agent", "")
        return Request(call.method, call.path, endpoint, operation, run, body, agent)

    def meet(self, request: Request) -> Fault | None:
        if request.path == CONTROL_PATH:
            return None
        return (self.hook and self.hook(request)) or self.board.meet(request)

    def respond(self, call: Call, request: Request, fault: Fault | None) -> Reply:
        """The reply to one call; a fault that answers stands in front of it."""
        if fault is not None and fault.kind == "status":
            message = fault.message or f"fault: {fault.status}"
            words = {"errors": [{"message": message}], "error": "fault"}
            return json_reply(words, fault.status, fault.retry_after)
        if fault is not None and fault.kind == "html":
            return Reply(200, PORTAL, "text/html; charset=utf-8")
        if fault is not None and fault.kind == "page":
            return Reply(fault.status, PORTAL, "text/html; charset=utf-8")
        if fault is not None and fault.kind == "foreign_json":
            return json_reply({"message": "no route matched"}, fault.status)
        most = self.world.max_request
        if most is not None and call.method == "POST" and call.size > most:
            return Reply(413, TOO_LARGE, "text/html")  # it's the proxy in front that says so
        try:
            return self._route(call, request, fault)
        except RefusalError as refusal:
            answer: Json = {"errors": [{"message": refusal.message}], "error": refusal.message}
            if refusal.data is not None:
                answer["data"] = refusal.data
            return json_reply(answer, refusal.status, headers=refusal.headers)

    def _route(self, call: Call, request: Request, fault: Fault | None) -> Reply:
        if call.path == CONTROL_PATH and call.method == "POST":
            return json_reply(self.control(json.loads(call.body)))
        if call.path == "/healthz" or call.path.startswith("/sdk/otel/"):  # the SDK's own telemetry
            return Reply()
        if request.endpoint == "files" and call.method == "PUT":
            return self._put(call)
        if not self._knows(call.authorization):
            raise RefusalError(401, "user is not logged in: this API key is not known here")
        if request.endpoint == "graphql":
            stale = fault if fault and fault.kind == "stale" else None
            ask = Ask(request.body.get("variables") or {}, call.url, stale)
            return json_reply({"data": self.graphql.answer(request.body, ask)})
        if request.endpoint == "file_stream" and call.method == "POST":
            return self._stream(call, request.body)
        if request.endpoint == "files" and call.method == "GET":
            return Reply(200, self.store.get_file(*self._file(call)), "application/octet-stream")
        raise RefusalError(404, f"no such page: {call.path}")

    def _stream(self, call: Call, body: Json) -> Reply:
        found = STREAM_PATH.fullmatch(call.path)
        assert found is not None
        key = RunKey(*(unquote(part) for part in found.groups()))
        world = self.world
        if call.headers.get("content-encoding") and not world.gzip:
            raise RefusalError(400, "the body is compressed, which this server has not offered")
        told: dict[str, str] = {}
        if world.limits:
            quota = self.limiter.post(world.limits, key, call.size)
            if not quota.passes:
                raise RefusalError(429, "rate limit exceeded", quota.headers())
            told = quota.headers() if world.limits.always_told else {}
        if world.stream_error:
            return json_reply({"error": world.stream_error}, headers=told)
        self.store.stream(key, body)
        answer: Json = {"exitcode": None, "limits": {}}
        if world.stopped:
            answer["stopped"] = True
        return json_reply(answer, headers=told)

    def _put(self, call: Call) -> Reply:
        """Keep a file; as strict as a storage that was given a signed link and its headers."""
        if call.authorization:
            raise RefusalError(400, "only one way of authorization is allowed, and the link is one")
        for header in self.world.upload_headers:
            name, _, value = header.partition(":")
            if call.headers.get(name.strip().lower(), "").strip() != value.strip():
                raise RefusalError(403, f"the link was signed with the header {header}")
        self.store.put_file(*self._file(call), call.body)
        return Reply()

    def _file(self, call: Call) -> tuple[RunKey, str]:
        found = STORAGE_PATH.fullmatch(call.path)
        assert found is not None
        entity, project, run, name = (unquote(part) for part in found.groups())
        return RunKey(entity, project, run), name

    def _knows(self, authorization: str) -> bool:
        scheme, _, value = authorization.partition(" ")
        with contextlib.suppress(binascii.Error):
            return scheme == "Basic" and base64.b64decode(value) == f"api:{self.key}".encode()
        return False

    def control(self, order: Json) -> object:
        """Carry out one order of another process: {"do": METHOD, …its arguments}."""
        orders: dict[str, Callable[..., object]] = {
            "dump": self.dump,
            "run": self.run,
            "requests": lambda: [asdict(seen) for seen in self.requests()],
            "counts": self.counts,
            "fault": self.fault,
            "clear": self.clear,
            "refuse": self.refuse,
            "delete_run": self.delete_run,
            "forget_run": self.forget_run,
            "append_foreign": self.append_foreign,
            "crash_run": self.crash_run,
            "unknown": self.unknown,
            "world": lambda world: self.change_world(World.from_json(world)),
        }
        try:
            return {"ok": orders[order["do"]](**{k: v for k, v in order.items() if k != "do"})}
        except (KeyError, TypeError, ValueError, RefusalError) as error:
            raise RefusalError(400, f"{type(error).__name__}: {error}") from error


class ControlApp:
    """A second port that only takes orders, for when the first one refuses connections."""

    def __init__(self, server: WandbServer) -> None:
        self.server = server
        self.board = FaultBoard()
        self.log = RequestLog()

    def see(self, call: Call) -> Request:
        return Request(call.method, call.path, "other", "", "", None)

    def meet(self, request: Request) -> Fault | None:
        return None

    def respond(self, call: Call, request: Request, fault: Fault | None) -> Reply:
        if call.path != CONTROL_PATH or call.method != "POST":
            return json_reply({"errors": [{"message": f"POST {CONTROL_PATH}"}]}, 404)
        return self.server.respond(call, request, None)


def main() -> None:
    parser = argparse.ArgumentParser(description="A W&B server on 127.0.0.1 for tests.")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--state", type=Path, required=True, help="folder that keeps the runs")
    parser.add_argument("--port-file", type=Path, help="where to write the port once it listens")
    parser.add_argument("--control-port-file", type=Path, help="likewise, the port for orders")
    parser.add_argument("--tls", action="store_true", help="https, self-signed")
    parser.add_argument("--world", default="{}", help="a World as JSON; fields have defaults")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    world = World.from_json(options.world)
    with WandbServer(options.state, port=options.port, tls=options.tls, world=world) as server:
        control = Listener(ControlApp(server), 0)
        control.open()
        announce(options.control_port_file, control.port)
        announce(options.port_file, server.port)
        print(f"{server.url} key {server.key}", flush=True)
        stop.wait()
        control.close()


def announce(file: Path | None, port: int) -> None:
    """Write a port into a file, whole or not at all."""
    if file is not None:
        draft = file.with_name(file.name + ".tmp")
        draft.write_text(f"{port}\n")
        draft.replace(file)


if __name__ == "__main__":
    main()

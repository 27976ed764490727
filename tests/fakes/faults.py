"""Faults on demand for the W&B stand-in: which request meets which, and what was asked so far.

A fault names what happens, to which requests, and how often. `FaultBoard.meet` gives a request
the first fault that fits it; performing it on the wire is `wandb_http`'s part.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

Kind = Literal[
    "latency",  # answer, `seconds` late
    "status",  # HTTP `status`, with Retry-After when given; nothing is applied
    "html",  # a captive portal: 200 and a page
    "page",  # what is in between answers for the server: HTTP `status` and a page
    "foreign_json",  # the same with JSON of its own
    "hang",  # never answer; nothing is applied
    "trickle",  # apply, and answer with a byte now and then, for ever
    "reset",  # reset the connection before anything is applied
    "reset_reply",  # apply, send half the answer, then reset the connection
    "drop_reply",  # apply, then close without an answer
    "truncate",  # apply, and answer with JSON that ends half way
    "stale",  # answer with a historyLineCount that is behind the truth
]
Endpoint = Literal["graphql", "file_stream", "files", "other", "all"]


@dataclass(frozen=True)
class Request:
    """One request as a fault or a hook sees it; `operation` only for GraphQL."""

    method: str
    path: str
    endpoint: Endpoint
    operation: str
    run: str
    body: Any
    agent: str = ""  # the client, as its User-Agent names it


@dataclass(frozen=True)
class Fault:
    """`kind` happens to matching requests: the next `times`, or (None) all until cleared.

    `operation` (a GraphQL operation's name) and `run` (a run id) narrow it further.
    `seconds` of delay go before any kind. A stale count is `lag` lines behind, or as it was
    `lag_s` seconds ago (W&B's own counts have been seen 2 to 4 s behind); the history's tail is
    fresh all the same, unless `stale_tail`.
    """

    kind: Kind
    endpoint: Endpoint = "all"
    operation: str = ""
    run: str = ""
    times: int | None = None
    status: int = 500
    message: str = ""  # of a status fault, as a GraphQL server words it
    retry_after: float | None = None
    seconds: float = 0.0
    lag: int = 0
    lag_s: float = 0.0
    stale_tail: bool = False

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind) or self.endpoint not in get_args(Endpoint):
            raise ValueError(f"no such fault: {self.kind} at {self.endpoint}")

    def fits(self, request: Request) -> bool:
        return (
            self.endpoint in ("all", request.endpoint)
            and self.operation in ("", request.operation)
            and self.run in ("", request.run)
        )


class FaultBoard:
    """The faults in force. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self.generation = 0  # counts clears, which is what a hanging request waits for

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()
            self.generation += 1

    def meet(self, request: Request) -> Fault | None:
        """The oldest fault that fits; one of its `times` is used up."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.fits(request):
                    self._use(index, fault)
                    return fault
        return None

    def _use(self, index: int, fault: Fault) -> None:
        if fault.times is None:
            return
        if fault.times <= 1:
            del self._faults[index]
        else:
            self._faults[index] = replace(fault, times=fault.times - 1)


@dataclass(frozen=True)
class Seen:
    """One request in the log; `status` 0 where no answer was sent."""

    at: float
    method: str
    path: str
    endpoint: Endpoint
    operation: str
    run: str
    agent: str
    status: int
    fault: str


class RequestLog:
    """What was asked, in the order of the answers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: list[Seen] = []

    def add(self, request: Request, status: int, fault: Fault | None) -> None:
        seen = Seen(
            at=time.time(),
            method=request.method,
            path=request.path,
            endpoint=request.endpoint,
            operation=request.operation,
            run=request.run,
            agent=request.agent,
            status=status,
            fault=fault.kind if fault else "",
        )
        with self._lock:
            self._seen.append(seen)

    def all(self) -> list[Seen]:
        with self._lock:
            return list(self._seen)

    def counts(self) -> dict[str, int]:
        """How many requests came to each endpoint, and to each operation of GraphQL."""
        seen = self.all()
        endpoints = Counter[str](item.endpoint for item in seen)
        operations = Counter(f"graphql:{item.operation}" for item in seen if item.operation)
        return dict(endpoints + operations)

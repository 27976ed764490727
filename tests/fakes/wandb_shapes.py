"""The shapes of requests to W&B, and those that wandb's own SDK was recorded sending.

A shape is a request without its values: where it went, which GraphQL operation it was, the names of
its variables, and every path through its body with the JSON type found there. What users name
(metrics, config entries) is ``*`` in it, so that two runs can be compared. JSON in a text, as in
``config`` or in the lines of a history, is looked into: ``{}`` in a path says where.

``recorded_sdk.json`` is written by ``python -m tests.fakes.wandb_recording``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fakes.faults import Endpoint

if TYPE_CHECKING:
    from tests.fakes.faults import Request

RECORDED = Path(__file__).with_name("recorded_sdk.json")
ROWS = ("wandb-history.jsonl", "wandb-events.jsonl", "wandb-summary.json")  # lines are JSON objects
WORD = re.compile(r"(?<![\w$])[A-Za-z_]\w*")  # not a variable, whose name is the client's own
COMMENT = re.compile(r"#[^\n]*")
TELEMETRY = "t"  # in _wandb: numbers for features and versions, which differ between machines


@dataclass(frozen=True, order=True)
class Kind:
    """Which request it is: `operation` only for GraphQL."""

    endpoint: Endpoint
    method: str
    operation: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.endpoint} {self.operation}".rstrip()


@dataclass(frozen=True)
class Shape:
    """One request without its values. body: sorted paths with their types, ``a/b[]/c: number``; of
    GraphQL, of the variables. words: of GraphQL, the names of types, fields and arguments."""

    kind: Kind
    variables: tuple[str, ...] = ()
    body: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


def shape_of(request: Request) -> Shape:
    """What a request is, as far as two clients can be compared in it."""
    kind = Kind(request.endpoint, request.method, request.operation)
    body: Any = request.body or {}
    if request.endpoint == "graphql":
        variables = body.get("variables") or {}
        found = _paths(variables, "", _in_variables)
        words = set(WORD.findall(COMMENT.sub("", body.get("query") or ""))) - {kind.operation}
        return Shape(
            kind, tuple(sorted(variables)), tuple(sorted(set(found))), tuple(sorted(words))
        )
    return Shape(kind, body=tuple(sorted(set(_paths(body, "", _in_stream)))) if body else ())


def recorded() -> tuple[Shape, ...]:
    """The SDK's requests in the order in which each shape came first."""
    requests = json.loads(RECORDED.read_text())["requests"]
    return tuple(
        Shape(Kind(*item["kind"]), *(tuple(item[name]) for name in ("variables", "body", "words")))
        for item in requests
    )


def write(shapes: Iterable[Shape], version: str, path: Path = RECORDED) -> None:
    """Keep a recording, a line per path so that a change of the SDK can be read as a diff."""
    requests = [
        {
            "kind": [shape.kind.endpoint, shape.kind.method, shape.kind.operation],
            "variables": shape.variables,
            "body": shape.body,
            "words": shape.words,
        }
        for shape in dict.fromkeys(shapes)
    ]
    path.write_text(json.dumps({"wandb": version, "requests": requests}, indent=1) + "\n")


def merged(shapes: Iterable[Shape]) -> dict[Kind, frozenset[str]]:
    """Every path that a kind of request was seen with. How rows, summary and files are spread over
    the posts is a matter of time; this isn't."""
    found: dict[Kind, frozenset[str]] = {}
    for shape in shapes:
        found[shape.kind] = found.get(shape.kind, frozenset()) | {*shape.body}
    return found


def unrecorded(request: Request) -> list[str]:
    """What is in a request that the SDK was never recorded sending; empty when nothing is. A word
    of GraphQL may have been in any of its questions: they all speak of one schema."""
    shape = shape_of(request)
    known, words = _known()
    if shape.kind not in known:
        return [f"{shape.kind}: no such request"]
    new = [path for path in shape.body if path not in known[shape.kind]]
    new += [f"the word {word}" for word in shape.words if word not in words]
    return [f"{shape.kind}: {what}" for what in new]


@cache
def _known() -> tuple[Mapping[Kind, frozenset[str]], frozenset[str]]:
    shapes = recorded()
    return merged(shapes), frozenset(word for shape in shapes for word in shape.words)


TYPES = {bool: "boolean", int: "number", float: "number", str: "string", type(None): "null"}
Look = Callable[[Any, str], "Iterable[str] | None"]  # the paths of a value that it knows better


def _paths(value: Any, at: str, look: Look = lambda value, at: None) -> Iterator[str]:
    """Each path from `at` on with its type."""
    known = look(value, at)
    if known is not None:
        yield from known
    elif isinstance(value, dict):
        if not value:
            yield f"{at}: {{}}"
        for name, item in value.items():
            yield from _paths(item, f"{at}/{name}" if at else name, look)
    elif isinstance(value, list):
        if not value:
            yield f"{at}: []"
        for item in value:
            yield from _paths(item, f"{at}[]", look)
    else:
        yield f"{at}: {TYPES[type(value)]}"


def _in_variables(value: Any, at: str) -> Iterable[str] | None:
    if at == "config" and isinstance(value, str):
        return _config(json.loads(value))
    if at == "summaryMetrics" and isinstance(value, str):
        return _row(json.loads(value), "summaryMetrics{}")
    return None


def _in_stream(value: Any, at: str) -> Iterable[str] | None:
    name, _, rest = at.removeprefix("files/").partition("/")
    if rest == "content[]" and name in ROWS:
        return _row(json.loads(value), f"{at}{{}}")
    return None


def _config(config: Mapping[str, Any]) -> Iterator[str]:
    for name, item in config.items():
        ours = name == "_wandb"
        for key, value in item.items():
            at = f"config{{}}/{name if ours else '*'}/{key}"
            if ours and isinstance(value, dict):
                yield from _paths({k: v for k, v in value.items() if k != TELEMETRY}, at)
                yield from (f"{at}/{k}: any" for k in value if k == TELEMETRY)
            else:
                yield f"{at}: any"


def _row(values: Mapping[str, Any], at: str) -> Iterator[str]:
    """A history row's or a summary's: names that begin with `_` are wandb's, and so is all of what
    has a `_type`, as pictures and tables have."""
    for name, item in values.items():
        if isinstance(item, dict) and "_type" in item:
            yield from _paths(item, f"{at}/*<{item['_type']}>")
        elif name.startswith("_"):
            yield from _paths(item, f"{at}/{name}")
        else:
            yield f"{at}/*: any"

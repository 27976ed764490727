"""Requests without their values, and whether wandb's own SDK was recorded sending such a one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes.faults import Request
from tests.fakes.wandb_shapes import Kind, merged, recorded, shape_of, unrecorded

ROW = {"_step": 0, "_timestamp": 1.0, "_runtime": 0.5, "train/loss": float("nan"), "deep": {"a": 1}}
PICTURE = {"_type": "image-file", "sha256": "f", "size": 3, "path": "p", "format": "png"}


def post(**body: Any) -> Request:
    return Request("POST", "/files/e/p/r/file_stream", "file_stream", "", "r", body)


def lines(*rows: Any, **more: Any) -> Request:
    content = [json.dumps(row) for row in rows]
    return post(files={"wandb-history.jsonl": {"offset": 0, "content": content}}, **more)


def ask(operation: str, asked: str = "viewer", **variables: Any) -> Request:
    body = {"query": f"query {operation} {{ {asked} }}", "variables": variables}
    return Request("POST", "/graphql", "graphql", operation, "r", body)


def test_a_shape_has_the_paths_of_a_body_with_their_types_and_no_value() -> None:
    assert shape_of(lines(ROW, complete=True, exitcode=1)).body == (
        "complete: boolean",
        "exitcode: number",
        "files/wandb-history.jsonl/content[]{}/*: any",
        "files/wandb-history.jsonl/content[]{}/_runtime: number",
        "files/wandb-history.jsonl/content[]{}/_step: number",
        "files/wandb-history.jsonl/content[]{}/_timestamp: number",
        "files/wandb-history.jsonl/offset: number",
    )


def test_a_heartbeat_has_no_paths() -> None:
    assert shape_of(post()).body == ()
    assert unrecorded(post()) == []


def test_config_is_looked_into_and_what_users_name_is_not_in_the_shape() -> None:
    config = {
        "lr": {"value": 1},
        "_wandb": {"value": {"t": {"1": [3]}, "m": [{"1": "axis", "6": [3], "7": []}]}},
    }
    shape = shape_of(ask("UpsertBucket", name="r", config=json.dumps(config), id=None))
    assert shape.kind == Kind("graphql", "POST", "UpsertBucket")
    assert shape.variables == ("config", "id", "name")
    assert shape.body == (
        "config{}/*/value: any",
        "config{}/_wandb/value/m[]/1: string",
        "config{}/_wandb/value/m[]/6[]: number",
        "config{}/_wandb/value/m[]/7: []",
        "config{}/_wandb/value/t: any",
        "id: null",
        "name: string",
    )


def test_what_the_sdk_was_recorded_sending_has_nothing_unrecorded() -> None:
    config = json.dumps({"lr": {"value": 1}, "_wandb": {"value": {"t": {}, "m": []}}})
    for request in (
        lines(ROW, {"_step": 1, "roll": PICTURE}, uploaded=["a"]),
        ask("UpsertBucket", name="r", project="p", entity="e", displayName="n", config=config),
        ask("RunResumeStatus", name="r", project="p", entity="e"),
        Request("PUT", "/_storage/e/p/r/a.png", "files", "", "r", None),
    ):
        assert unrecorded(request) == []


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (ask("Weather"), ["POST graphql Weather: no such request"]),
        (ask("RunResumeStatus", run="r"), ["POST graphql RunResumeStatus: run: string"]),
        (
            ask("RunResumeStatus", "viewer { of_mine(x: $x) # y\n }", name="r"),
            [
                "POST graphql RunResumeStatus: the word of_mine",
                "POST graphql RunResumeStatus: the word x",
            ],
        ),
        (post(exitcode="1"), ["POST file_stream: exitcode: string"]),
        (post(final=True), ["POST file_stream: final: boolean"]),
        (
            lines({"_step": "0", "_time": 1}),
            [
                "POST file_stream: files/wandb-history.jsonl/content[]{}/_step: string",
                "POST file_stream: files/wandb-history.jsonl/content[]{}/_time: number",
            ],
        ),
        (
            lines({"roll": {**PICTURE, "tint": "red"}}),
            ["POST file_stream: files/wandb-history.jsonl/content[]{}/*<image-file>/tint: string"],
        ),
        (
            ask("UpsertBucket", config=json.dumps({"_wandb": {"value": {"m": [{"9": 1}]}}})),
            ["POST graphql UpsertBucket: config{}/_wandb/value/m[]/9: number"],
        ),
    ],
    ids=["operation", "variable", "words", "type", "part", "row", "media", "config"],
)
def test_what_the_sdk_never_sent_is_named(request_: Request, told: list[str]) -> None:
    assert unrecorded(request_) == told


def test_the_recording_has_all_that_a_run_is_made_of() -> None:
    kinds = {str(kind) for kind in merged(recorded())}
    assert kinds >= {
        "POST file_stream",
        "PUT files",
        "POST graphql RunResumeStatus",
        "POST graphql UpsertBucket",
        "POST graphql CreateRunFiles",
        "POST graphql CreateArtifact",
    }
    for shape in recorded():
        assert list(shape.variables) == sorted(shape.variables)

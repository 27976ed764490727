"""In each situation, `status` says what is true: its first line, its exit code, what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncd import paths
from syncd.report.page import Page
from syncd.report.render import render
from syncd.report.status import exit_code, to_json
from syncd.report.verdict import verdict
from syncd.service import systemd, unit_file
from syncd.settings import BY_FLAG
from tests.syncd.report.situations import SITUATIONS, Scene, Situation

_OF_A_SERVER_ALONE = {
    "records wait, and something else answers in the server's place",
    "records wait, and nobody is logged in",
    "how a run ended could not be told",
    "the server takes a run's records and counts none of them",
    "records are in the places of others at the server",
}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    with made.held:
        yield made
    made.world.daemon.drop()


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.truth)
def test_status_says_what_is_true(scene: Scene, situation: Situation) -> None:
    situation.play(scene)
    status = scene.status()
    places = {"logs": scene.world.logs, "state": scene.world.settings.state_dir}
    found = verdict(status)
    assert str(found) == situation.says.format(**places)
    assert found.advice.startswith(situation.advice.format(**places))
    assert exit_code(status) is situation.code
    data = to_json(status)
    assert (data["exit_code"], data["exit"]) == (situation.code, situation.code.name.lower())
    assert {key: data[key] for key in situation.json} == situation.json
    if situation.run:
        assert {key: data["runs"][0][key] for key in situation.run} == situation.run
    page = Page(500)
    render(status, page)
    first, then, *rest = str(page).splitlines()
    assert first == str(found)
    assert then == f"Next  {found.advice}"
    for words in situation.tells:
        assert words.format(**places) in "\n".join(rest)


@pytest.mark.parametrize(
    ("changes", "folders", "booted", "advised"),
    [
        ({}, True, True, True),
        ({"project": BY_FLAG}, True, True, False),  # which the service would not know
        ({"log_dir": BY_FLAG}, True, True, True),
        ({"log_dir": "config.toml"}, False, True, True),  # the service reads it, too
        ({}, False, True, False),
        ({}, True, False, False),
    ],
)
def test_a_stopped_service_is_advised_where_it_would_upload_the_records(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], folders: bool,
    booted: bool, advised: bool,
) -> None:  # fmt: skip
    scene.run()
    scene.installed()
    if not folders:
        unit_file.path().write_text("ExecStart=/bin/none start\n")
    if not booted:
        monkeypatch.setattr(systemd, "BOOTED", scene.world.logs / "none")
    config = {"config.toml": str(paths.config_file())}
    origin = {name: config.get(value, value) for name, value in changes.items()}
    scene.world.settings = replace(scene.world.settings, origin=origin)
    assert ("karaoke-syncd service restart" in verdict(scene.status()).advice) == advised


def test_all_is_on_the_server_is_said_only_where_it_is_so() -> None:
    """Neither while anything waits, nor in trouble, nor where the server isn't known to have it."""
    fine = {situation.truth for situation in SITUATIONS if "All" in situation.says}
    assert fine == {
        "everything is uploaded, ends included",
        "a run goes on; all that it has is uploaded",
        "a line is no record",
        "somebody pressed Stop on the run's page",
        "all is in the local dashboard, and no daemon runs",
    }


@pytest.mark.parametrize(
    "situation",
    [one for one in SITUATIONS if one.truth not in _OF_A_SERVER_ALONE],
    ids=lambda situation: situation.truth,
)
def test_of_the_local_store_no_server_and_no_url_is_spoken(
    scene: Scene, situation: Situation
) -> None:
    scene.local()
    situation.play(scene)
    page = Page(500)
    render(scene.status(), page)
    assert not re.search("server|file:|W&B", str(page))

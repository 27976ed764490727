"""What the local store is told of a run's config; needs no trackio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from karaoke_train.runlog.format import RunHeader
from karaoke_train.runlog.reader import Position
from syncd.destination.base import Target
from syncd.destination.trackio.destination import ENTITY, TrackioDestination
from syncd.destination.trackio.store import Store
from syncd.destination.trackio.uploader import TrackioUploader, config_of
from syncd.source.lines import Lines
from syncd.source.media_folder import MediaFolder


def test_secrets_are_masked_unless_they_are_allowed(tmp_path: Path) -> None:
    config = {"api_key": "a", "hf_token": "b", "song_key": "C", "lr": 1}
    header = RunHeader("r", "n", "p", config, allow_config_keys=("hf_token",))
    target = Target(header, ENTITY, "p", MediaFolder(tmp_path), allowed_keys=("song_*",))
    session = TrackioDestination(tmp_path).uploader(target)
    assert isinstance(session, TrackioUploader)
    assert config_of(session._target) == {
        "api_key": "***",
        "hf_token": "b",
        "song_key": "C",
        "lr": 1,
    }


def test_a_session_that_is_open_holds_no_config_until_its_first_lines_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of sessions are open at once, and a config may have a megabyte."""
    read: list[int] = []
    kept: list[dict[str, Any]] = []

    def whole() -> RunHeader:
        read.append(1)
        return RunHeader("r", "n", "p", {"lr": 1})

    monkeypatch.setattr(Store, "check", lambda self: None)
    monkeypatch.setattr(Store, "count", lambda self, *run: 0)
    monkeypatch.setattr(Store, "last_step", lambda self, *run: 0)
    monkeypatch.setattr(Store, "state", lambda self, *run: "")
    monkeypatch.setattr(
        Store, "add", lambda self, project, name, run, rows, told: kept.append(told)
    )
    slim = RunHeader("r", "n", "p", {})
    target = Target(slim, ENTITY, "p", MediaFolder(tmp_path), read=whole, length=900_000)
    session = TrackioDestination(tmp_path).uploader(target)
    session.open()
    assert read == []
    for line in (b'{"type":"train","x":1}\n', b'{"type":"train","x":2}\n'):
        session.send(Lines.of(line, Position()))
    assert (read, kept) == ([1], [{"lr": 1}, {}])

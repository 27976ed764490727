"""What the local store is told of a run's config; needs no trackio."""

from __future__ import annotations

from pathlib import Path

from karaoke_train.runlog.format import RunHeader
from syncd.destination.base import Target
from syncd.destination.trackio.destination import ENTITY, TrackioDestination
from syncd.destination.trackio.uploader import TrackioUploader


def test_secrets_are_masked_unless_they_are_allowed(tmp_path: Path) -> None:
    config = {"api_key": "a", "hf_token": "b", "song_key": "C", "lr": 1}
    header = RunHeader("r", "n", "p", config, allow_config_keys=("hf_token",))
    target = Target(header, ENTITY, "p", tmp_path)
    session = TrackioDestination(tmp_path, ("song_*",)).uploader(target)
    assert isinstance(session, TrackioUploader)
    told = {key: session._config[key] for key in config}
    assert told == {"api_key": "***", "hf_token": "b", "song_key": "C", "lr": 1}

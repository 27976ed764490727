"""What the local store is told of a run's config; needs no trackio."""

from __future__ import annotations

from pathlib import Path

from karaoke_train.runlog.format import RunHeader
from syncd.destination.base import Target
from syncd.destination.trackio.destination import ENTITY, TrackioDestination
from syncd.destination.trackio.uploader import TrackioUploader, config_of
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

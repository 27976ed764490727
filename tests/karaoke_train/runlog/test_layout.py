"""Where a run's files are, and the project that their folder stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from karaoke_train.runlog.layout import default_project


@pytest.mark.parametrize(
    ("folder", "project"),
    [
        ("/home/me/songs/logs", "songs"),
        ("/home/me/songs/logs/", "songs"),
        ("/home/me/songs/runs", "runs"),
        ("/home/me/songs/src/../logs", "songs"),
        ("/home/me/50% off: a/b?/logs", "b"),
        ("/home/me/50% off: #1", "50- off- -1"),
        ("/data/Gesänge (neu)", "Gesänge (neu)"),
        ("/data/a\nb\udc80c", "a-b-c"),
        ("/data/.hidden", "hidden"),
        ("/logs", "uncategorized"),
        ("/", "uncategorized"),
        ("/data/???", "uncategorized"),
        ("/data/" + "x" * 200, "x" * 128),
        ("/data/" + "x" * 127 + " y", "x" * 127),
    ],
)
def test_a_folder_names_the_project_of_runs_that_name_none(folder: str, project: str) -> None:
    assert default_project(Path(folder)) == project


def test_a_relative_folder_is_named_by_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "songs"
    place.mkdir()
    (tmp_path / "scratch42").mkdir()
    (place / "logs").symlink_to(tmp_path / "scratch42")
    monkeypatch.chdir(place)
    assert default_project(Path("logs")) == "songs"
    assert default_project(Path()) == "songs"

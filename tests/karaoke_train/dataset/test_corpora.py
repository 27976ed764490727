"""Public sets: small folders of each layout, read as the sets' own descriptions have them."""

from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from karaoke_train.dataset.corpora import NAMES, CorpusError, read_corpus
from karaoke_train.dataset.songs import split
from karaoke_train.notes import Note
from tests.karaoke_train.files import CSV, text, wav

if TYPE_CHECKING:
    from pathlib import Path


def test_csd_is_read_in_both_languages_and_keys_of_a_song_stay_together(tmp_path: Path) -> None:
    table = "start,end,pitch,syllable\n0.1,0.4,60,a\n0.5,0.9,62,b\n"
    for name in ("english/{}/en001a", "english/{}/en001b", "korean/{}/kr001a"):
        wav(tmp_path / (name.format("wav") + ".wav"), rate=44_100)
        text(tmp_path / (name.format("csv") + ".csv"), table)
        text(tmp_path / (name.format("txt") + ".txt"), "lyrics")
    songs, problems = read_corpus("csd", tmp_path)
    assert not problems
    assert [song.name for song in songs] == ["en001a", "en001b", "kr001a"]
    assert songs[0].notes == (Note(0.1, 0.4, 60.0), Note(0.5, 0.9, 62.0))
    for seed in range(4):
        train, _ = split(songs, seed)
        assert {song.name for song in train} in ({"en001a", "en001b"}, {"kr001a"})


def gtsinger(root: Path, name: str, words: object) -> None:
    wav(root / f"{name}.wav", seconds=2.0, rate=48_000)
    text(root / f"{name}.json", json.dumps(words))


def test_gtsinger_phrases_begin_their_notes_with_the_vowel(tmp_path: Path) -> None:
    words = [
        {"word": "<SP>", "note": [0], "note_start": [0.0], "note_end": [0.3], "ph": ["<SP>"]},
        {
            "word": "my",
            "note": [64, 62],
            "note_start": [0.3, 0.7],
            "note_end": [0.7, 1.0],
            "ph": ["M", "AY1"],
            "ph_start": [0.3, 0.38],
        },
        {"word": "<AP>", "note": [0], "note_dur": [0.2], "start_time": 1.0, "end_time": 1.2},
        {"word": "love", "note": [60, 59], "note_dur": [1, 3], "start_time": 1.2, "end_time": 2.0},
    ]
    group = "English/EN-Alto-1/Vibrato/my love"
    gtsinger(tmp_path, f"{group}/Control_Group/0000", words)
    gtsinger(tmp_path, f"{group}/Paired_Speech_Group/0000", words)
    gtsinger(tmp_path, f"{group}/Vibrato_Group/0000", {"not": "a list"})
    text(tmp_path / "metadata.json", "[]")
    (song,), (problem,) = read_corpus("gtsinger", tmp_path)
    assert song.name == f"{group}/Control_Group/0000"
    assert [n.onset for n in song.notes] == pytest.approx([0.38, 0.7, 1.2, 1.4])
    assert [n.offset for n in song.notes] == pytest.approx([0.7, 1.0, 1.4, 2.0])
    assert [n.pitch for n in song.notes] == [64, 62, 60, 59]
    assert song.work == group  # type: ignore[attr-defined]
    assert problem.path == tmp_path / f"{group}/Vibrato_Group/0000.wav"
    assert problem.reason.startswith("its labels cannot be read")


def test_mir_st500_labels_meet_the_audio_that_is_there(tmp_path: Path) -> None:
    labels = {
        "1": [[0.1, 0.4, 60], [0.5, 0.9, 62]],
        "2": [[0.1, 0.4, 60], [0.3, 0.9, 62]],
        "3": [[0.1, 0.4, 60]],
        "4": [[0.1, 0.4, 60]],
    }
    path = text(tmp_path / "MIR-ST500_20210206/MIR-ST500_corrected.json", json.dumps(labels))
    wav(tmp_path / "train/1.mp3")
    wav(tmp_path / "train/2.wav")
    wav(tmp_path / "test/4/Mixture.wav")
    songs, (problem,) = read_corpus("mir-st500", tmp_path)
    assert [song.name for song in songs] == ["mir-st500-1", "mir-st500-4"]
    assert songs[0].notes == (Note(0.1, 0.4, 60.0), Note(0.5, 0.9, 62.0))
    assert problem.path == path
    assert problem.reason.startswith("note 2: the note at 0.3 s begins before")


def test_hidden_files_are_no_songs_of_a_public_set(tmp_path: Path) -> None:
    for name in ("english/wav/en001a", "english/wav/._en001a"):
        wav(tmp_path / "csd" / f"{name}.wav")
        text(tmp_path / "csd" / f"{name.replace('wav', 'csv')}.csv", CSV)
    words = [{"word": "a", "note": [60], "note_start": [0.3], "note_end": [0.7]}]
    for name in ("0000", "._0000"):
        gtsinger(tmp_path / "gtsinger", f"English/EN-Alto-1/Vibrato/song/group/{name}", words)
    labels = {"1": [[0.1, 0.4, 60]]}
    text(tmp_path / "mir" / "MIR-ST500_corrected.json", json.dumps(labels))
    text(tmp_path / "mir" / "!" / "._MIR-ST500_corrected.json", "no json")
    wav(tmp_path / "mir" / "1" / "Mixture.wav")
    text(tmp_path / "mir" / "1" / "._Mixture.wav", "no sound")
    text(tmp_path / "mir" / "2" / "._Mixture.wav", "no sound")
    found = {}
    for name, folder in (("csd", "csd"), ("gtsinger", "gtsinger"), ("mir-st500", "mir")):
        songs, problems = read_corpus(name, tmp_path / folder)
        assert not problems
        found[name] = [song.path.name for song in songs]  # type: ignore[attr-defined]
    assert found == {"csd": ["en001a.wav"], "gtsinger": ["0000.wav"], "mir-st500": ["Mixture.wav"]}


def test_mir_st500_without_its_labels_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"has no MIR-ST500_corrected\.json"):
        read_corpus("mir-st500", tmp_path)


def mirdata_with(monkeypatch: pytest.MonkeyPatch, tracks: object) -> list[tuple[str, str]]:
    """Put a mirdata in place that knows these tracks; the calls to it are returned."""
    calls: list[tuple[str, str]] = []

    def load_tracks() -> object:
        if isinstance(tracks, Exception):
            raise tracks
        return tracks

    def initialize(name: str, data_home: str) -> SimpleNamespace:
        calls.append((name, data_home))
        return SimpleNamespace(load_tracks=load_tracks)

    module = ModuleType("mirdata")
    module.initialize = initialize  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mirdata", module)
    return calls


def test_vocadito_is_read_through_mirdata_in_hz(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = SimpleNamespace(
        intervals=np.array([[0.1, 0.4], [0.5, 0.9]]), pitches=np.array([220.0, 440.0])
    )
    track = SimpleNamespace(
        audio_path=str(wav(tmp_path / "Audio/vocadito_1.wav")),
        notes_a1=notes,
        notes_a1_path=str(tmp_path / "a1.csv"),
    )
    calls = mirdata_with(monkeypatch, {"1": track})
    (song,), problems = read_corpus("vocadito", tmp_path)
    assert calls == [("vocadito", str(tmp_path))]
    assert not problems
    assert (song.name, song.notes) == ("vocadito-1", (Note(0.1, 0.4, 57.0), Note(0.5, 0.9, 69.0)))


def test_tonas_tracks_without_notes_are_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = str(wav(tmp_path / "Deblas/01.wav"))
    mirdata_with(monkeypatch, {"01": SimpleNamespace(audio_path=sound, notes=None, notes_path="")})
    songs, (problem,) = read_corpus("tonas", tmp_path)
    assert not songs
    assert problem.reason.startswith("has no notes in its labels")


def test_a_missing_mirdata_or_index_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mirdata", None)
    with pytest.raises(CorpusError, match=r"pip install 'karaoke-train\[corpora\]'"):
        read_corpus("vocadito", tmp_path)
    mirdata_with(monkeypatch, FileNotFoundError("no index"))
    with pytest.raises(CorpusError, match=r"mirdata\.initialize\('vocadito', data_home=.*download"):
        read_corpus("vocadito", tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        [{"note": [60], "note_dur": [0], "start_time": 0.0, "end_time": 1.0}],
        ["la"],
        {"word": "la"},
        [{"note": [60], "note_start": [0.1], "note_end": [0.4], "ph": 1}],
        7,
    ],
)
def test_labels_of_another_shape_are_a_problem_of_their_song(tmp_path: Path, words: object) -> None:
    gtsinger(tmp_path, "English/EN-Alto-1/Vibrato/song/group/0000", words)
    songs, (problem,) = read_corpus("gtsinger", tmp_path)
    assert songs == []
    assert problem.reason.startswith("its labels cannot be read")


@pytest.mark.parametrize("content", ["", "[", "7", '{"1": ', "[1]", "[" * 100_000])
def test_damaged_labels_of_a_whole_set_are_named(tmp_path: Path, content: str) -> None:
    path = text(tmp_path / "MIR-ST500_corrected.json", content)
    with pytest.raises(CorpusError, match=f"{path}: can't be read"):
        read_corpus("mir-st500", tmp_path)


def test_unknown_sets_missing_folders_and_empty_ones_are_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=f"no corpus is called 'x'; there are {', '.join(NAMES)}"):
        read_corpus("x", tmp_path)
    with pytest.raises(CorpusError, match="gone: is not a folder; unpack csd there"):
        read_corpus("csd", tmp_path / "gone")
    text(tmp_path / "a.csv", CSV)
    with pytest.raises(CorpusError, match="holds nothing of gtsinger"):
        read_corpus("gtsinger", tmp_path)

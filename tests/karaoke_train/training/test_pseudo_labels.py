"""Recordings without notes: labelled by a model, left out where they may be no singing."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from karaoke_train.annotations import read as read_labels
from karaoke_train.audio.units import SAMPLE_RATE
from karaoke_train.dataset.load import DataError, load_data
from karaoke_train.inference.transcribe import VoiceToNotes
from karaoke_train.model.build import build_model
from karaoke_train.settings import FAST_DEV, TrainSettings
from karaoke_train.synth import sing
from karaoke_train.training.pseudo_labels import FOLDER, read, with_pseudo_labels, write
from tests.karaoke_train.conftest import karaoke_train
from tests.karaoke_train.files import text

SUNG = (3, 5)  # seeds


@pytest.fixture(scope="module")
def model() -> VoiceToNotes:
    return VoiceToNotes.from_pretrained("small", "cpu")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two songs, one of them in a subfolder; a whistle, a silence, and what is no sound."""
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "more").mkdir()
    for path, seed in zip((folder / "one.wav", folder / "more" / "two.flac"), SUNG, strict=True):
        soundfile.write(path, sing(seed, duration=6.0)[0], SAMPLE_RATE)
    time = np.arange(6 * SAMPLE_RATE) / SAMPLE_RATE
    melody = 440.0 * 2 ** (np.floor(time * 2) % 5 / 6)
    soundfile.write(folder / "whistle.wav", 0.3 * np.sin(2 * np.pi * melody * time), SAMPLE_RATE)
    soundfile.write(folder / "silence.wav", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    text(folder / "broken.wav", "no sound")
    text(folder / "read me.txt", "no song either")
    return folder


def settings(recordings: Path, **changes: object) -> TrainSettings:
    quick = {**FAST_DEV, "fast_dev": True, "synthetic": 2, "init": "small", "from_scratch": None}
    return TrainSettings(**{**quick, "pseudo_label": str(recordings), **changes})


def files_of(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_songs_get_notes_and_all_else_is_left_out_with_its_reason(
    model: VoiceToNotes, recordings: Path, tmp_path: Path
) -> None:
    problems = {problem.path.name: problem.reason for problem in write(model, recordings, tmp_path)}
    assert problems.keys() == {"whistle.wav", "silence.wav", "broken.wav"}
    assert "whistling" in problems["whistle.wav"]
    assert problems["silence.wav"] == "no singing voice in it"
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.csv")) == [
        Path("more/two.csv"),
        Path("one.csv"),
    ]


def test_a_recording_whose_notes_can_not_have_their_names_is_left_out(
    model: VoiceToNotes, tmp_path: Path
) -> None:
    most = os.pathconf(tmp_path, "PC_NAME_MAX")
    name = f"{'x' * (most - 4)}.wav"  # its checksum's name is 3 longer
    soundfile.write(tmp_path / name, sing(SUNG[0], duration=6.0)[0], SAMPLE_RATE)
    [problem] = write(model, tmp_path, tmp_path / "notes")
    assert problem.path.name == name
    assert f"its name has {most + 3} bytes" in problem.reason
    assert not (tmp_path / "notes").exists()


def test_ranks_label_the_recordings_together_each_its_share(
    model: VoiceToNotes, recordings: Path, tmp_path: Path
) -> None:
    together, alone = tmp_path / "together", tmp_path / "alone"
    told = [
        {problem.path for problem in write(model, recordings, together, slice(rank, None, 2))}
        for rank in range(2)
    ]
    assert told[0].isdisjoint(told[1])
    assert told[0] | told[1] == {problem.path for problem in write(model, recordings, alone)}
    assert files_of(together) == files_of(alone)


def test_notes_are_those_that_transcribe_finds(
    model: VoiceToNotes, recordings: Path, tmp_path: Path
) -> None:
    list(write(model, recordings, tmp_path))
    songs, problems = read(recordings, tmp_path)
    assert problems == []
    assert {song.name for song in songs} == {"one", "two"}
    [one] = (song for song in songs if song.name == "one")
    heard = model.transcribe(recordings / "one.wav")
    assert [note.onset for note in one.notes] == pytest.approx([n.onset for n in heard], abs=1e-5)
    assert [note.pitch for note in one.notes] == pytest.approx([n.pitch for n in heard], abs=1e-3)


def test_they_stand_beside_the_labelled_songs_and_are_not_validated_on(
    recordings: Path, tmp_path: Path
) -> None:
    asked = settings(recordings)
    data, trained = load_data(asked), build_model(asked)
    both = with_pseudo_labels(data, asked, trained, tmp_path)
    assert both.train[: len(data.train)] == data.train
    added = both.train[len(data.train) :]
    assert {part.song.name for part in added} == {"one", "two"}
    assert both.val == data.val
    longest = trained.config.window_frames * 0.02
    assert all(part.duration <= longest for part in added)


def test_notes_that_a_person_corrected_are_what_a_resumed_run_learns(
    recordings: Path, tmp_path: Path
) -> None:
    asked = settings(recordings)
    data, trained = load_data(asked), build_model(asked)
    with_pseudo_labels(data, asked, trained, tmp_path)
    text(tmp_path / FOLDER / "one.csv", "onset,offset,pitch\n1.0,2.0,64\n")
    again = with_pseudo_labels(data, asked, trained, tmp_path)
    [one] = (part for part in again.train if part.song.name == "one")
    assert [note.pitch for note in one.notes] == [64.0]
    assert len(read_labels(tmp_path / FOLDER / "more" / "two.csv")) > 1


def test_another_recording_of_the_name_is_not_learnt_by_the_first_ones_notes(
    model: VoiceToNotes, recordings: Path, tmp_path: Path
) -> None:
    notes, other = tmp_path / "notes", tmp_path / "other"
    list(write(model, recordings, notes))
    (other / "more").mkdir(parents=True)
    (other / "more" / "two.flac").write_bytes((recordings / "more" / "two.flac").read_bytes())
    soundfile.write(other / "one.wav", sing(SUNG[0] + 1, duration=6.0)[0], SAMPLE_RATE)
    songs, problems = read(other, notes)
    assert [song.name for song in songs] == ["two"]  # the same one, elsewhere
    assert [str(problem) for problem in problems] == [
        f"{other / 'one.wav'}: is not the recording that {notes / 'one.csv'} was heard in"
    ]


def test_a_recording_whose_name_is_no_utf_8_has_notes_that_are_found_again(
    model: VoiceToNotes, recordings: Path, tmp_path: Path
) -> None:
    voices, notes = tmp_path / "voices", tmp_path / "notes"
    voices.mkdir()
    sound = voices / os.fsdecode(b"caf\xe9.wav")
    sound.write_bytes((recordings / "one.wav").read_bytes())
    assert list(write(model, voices, notes)) == []
    songs, problems = read(voices, notes)
    assert ([song.path for song in songs], problems) == ([sound], [])


def test_recordings_of_one_name_are_told_and_left_out(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one.wav", "one.flac", "other.wav"):
        (tmp_path / "in").mkdir(exist_ok=True)
        sound, rate = soundfile.read(recordings / "one.wav")
        soundfile.write(tmp_path / "in" / name, sound, rate)
    asked = settings(tmp_path / "in")
    data = load_data(asked)
    both = with_pseudo_labels(data, asked, build_model(asked), tmp_path / "run")
    assert {part.song.name for part in both.train[len(data.train) :]} == {"other"}
    assert "one.flac: has the same name as" in capsys.readouterr().err


def test_recordings_without_a_voice_are_an_error_in_words(tmp_path: Path) -> None:
    text(tmp_path / "in" / "broken.wav", "no sound")
    asked = settings(tmp_path / "in")
    data, trained = load_data(asked), build_model(asked)
    with pytest.raises(DataError, match=r"no recording in .* has notes"):
        with_pseudo_labels(data, asked, trained, tmp_path / "run")


def test_notes_that_can_not_be_written_end_the_training_in_words(
    model: VoiceToNotes, recordings: Path, tmp_path: Path
) -> None:
    text(tmp_path / "run", "a file where the folder would be")
    with pytest.raises(DataError, match=r"two\.csv can't be written .* --checkpoint_dir"):
        list(write(model, recordings, tmp_path / "run"))


def test_a_folder_that_is_not_there_is_named_before_anything_is_sung(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*nowhere"):
        load_data(settings(tmp_path / "nowhere"))


def test_without_the_flag_the_data_stay_as_they_are(recordings: Path, tmp_path: Path) -> None:
    asked = replace(settings(recordings), pseudo_label=None)
    data = load_data(asked)
    assert with_pseudo_labels(data, asked, build_model(asked), tmp_path) is data


def test_a_training_learns_from_recordings_and_says_by_whose_notes(
    recordings: Path, tmp_path: Path
) -> None:
    ran = karaoke_train(
        tmp_path, "--fast_dev", "--offline", "--synthetic", "2", "--epochs", "1",
        "--pseudo_label", str(recordings),
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "2 recordings, 0.2 minutes" in ran.out
    assert "notes by small, in" in ran.out
    assert "whistle.wav: it may be whistling" in ran.err
    assert (ran.best().parent / FOLDER / "one.csv").is_file()
    assert ran.records("config")[0]["config"]["pseudo_label"] == str(recordings)

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from karaoke_train import annotations, cli
from karaoke_train.dataset.songs import FileSong, read_folder
from karaoke_train.inference.evaluate import Evaluation, SongScore, evaluate
from karaoke_train.inference.metrics import Counts
from karaoke_train.inference.transcribe import VoiceToNotes
from karaoke_train.synth import synthetic_songs
from tests.karaoke_train.conftest import Ran

ONE = SongScore(
    "one", Counts(10, 9, 10, reference=10, estimated=10, onset=8, onset_pitch=6, full=4)
)
TWO = SongScore(
    "two", Counts(90, 9, 90, reference=90, estimated=90, onset=9, onset_pitch=9, full=9)
)


def test_overall_is_the_mean_of_songs_and_pooled_counts_all_notes() -> None:
    result = Evaluation([ONE, TWO])
    assert result.overall["onset_f1"] == pytest.approx((0.8 + 0.1) / 2)
    assert result.pooled["onset_f1"] == pytest.approx(17 / 100)
    assert result.overall["note_accuracy"] == pytest.approx((0.9 + 0.1) / 2)


def test_table_has_a_line_a_song_and_two_overall() -> None:
    lines = Evaluation([ONE, TWO]).as_table().splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["one", "two", "mean", "all"]
    assert "COnPOff" in lines[0]


def test_a_song_of_wide_letters_has_its_numbers_below_the_others() -> None:
    wide = replace(TWO, name="歌声を書き取る歌")  # 16 columns
    lines = Evaluation([replace(ONE, name="x" * 16), wide]).as_table().splitlines()
    assert len(lines[1]) == len(lines[2]) + len(wide.name)


def test_the_interval_holds_the_mean_and_narrows_with_more_songs() -> None:
    few, many = Evaluation([ONE, TWO]), Evaluation([ONE, TWO] * 50)
    for result in (few, many):
        low, high = result.interval("onset_f1")
        assert low <= result.overall["onset_f1"] <= high
        assert result.interval("onset_f1") == (low, high)
    assert few.interval("onset_f1") == pytest.approx((0.1, 0.8))
    assert many.interval("onset_f1")[1] - many.interval("onset_f1")[0] < 0.2
    assert Evaluation([ONE] * 5).interval("note_f1") == pytest.approx((0.4, 0.4))


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # so that the command line's is undone


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two songs with their notes, and one file that is none."""
    folder = tmp_path_factory.mktemp("songs")
    for number, song in enumerate(synthetic_songs(2, 99, simple=True)):
        soundfile.write(folder / f"song{number}.wav", song.load(), 16_000)
        annotations.write(folder / f"song{number}.csv", song.notes)
    (folder / "broken.wav").write_bytes(b"no audio")
    return folder


def test_song_that_breaks_while_it_is_read_is_named_and_the_rest_goes_on(
    fast_dev: Ran, songs: Path
) -> None:
    good, other = read_folder(songs, songs)[0]
    lost = FileSong("lost", songs / "gone.wav", other.notes, other.duration)
    result = evaluate(VoiceToNotes.from_pretrained(fast_dev.best(), "cpu"), [lost, good])
    assert [score.name for score in result.songs] == [good.name]
    assert "gone.wav" in result.problems[0]


def test_evaluate_command_scores_each_song_as_json(
    fast_dev: Ran, songs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--checkpoint", str(fast_dev.best()), str(songs)]
    assert cli.main([*words, "--json", "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert "left out: " in said.err
    result = json.loads(said.out)
    assert [song["name"] for song in result["songs"]] == ["song0", "song1"]
    assert result["overall"]["onset_f1"] > 0.5
    (problem,) = result["problems"]  # it has no labels and no sound, and was never a song
    assert "broken.wav" in problem


def test_transcribe_command_writes_all_formats_and_names_the_bad_file(
    fast_dev: Ran, songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["transcribe", "--checkpoint", str(fast_dev.best()), "--device", "cpu"]
    words += [str(songs / "song0.wav"), str(songs / "broken.wav"), "--out", str(tmp_path / "out")]
    assert cli.main([*words, "--formats", "mid,csv,json,txt,png"]) == 1
    assert "broken.wav" in capsys.readouterr().err
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == [f"song0.{suffix}" for suffix in ("csv", "json", "mid", "png", "txt")]
    by_format = [annotations.read(tmp_path / "out" / f"song0.{s}") for s in ("csv", "json", "mid")]
    assert len({len(notes) for notes in by_format}) == 1
    assert len(by_format[0]) >= 3


def test_labels_that_lie_beside_the_recording_are_not_overwritten(
    fast_dev: Ran, songs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (songs / "song0.csv").read_bytes()
    words = ["transcribe", "--checkpoint", str(fast_dev.best()), "--device", "cpu"]
    assert cli.main([*words, str(songs / "song0.wav")]) == 1
    assert "song0.csv exists; give --out DIR or --overwrite" in capsys.readouterr().err
    assert (songs / "song0.csv").read_bytes() == before


def test_checkpoint_that_is_none_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["transcribe", "--checkpoint", str(tmp_path), "a.wav"]) == 1
    assert "holds no model" in capsys.readouterr().err


def test_data_check_names_the_bad_file(songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "check", str(songs)]) == 1
    said = capsys.readouterr().out
    assert "2 usable songs" in said
    assert "broken.wav" in said

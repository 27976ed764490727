from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from karaoke_train.audio.features import FeatureSettings
from karaoke_train.inference.plot import curves_png, piano_roll_png, sparkline
from karaoke_train.notes import Note


@pytest.mark.parametrize(
    ("values", "low", "picture"),
    [
        ([0, 1, 2, 3], None, "▁▃▆█"),
        ([3, 2, 1, 0], None, "█▆▃▁"),
        ([0.8, 0.9], 0.0, "██"),
        ([0, 0], 0.0, "▁▁"),
        ([1, 1], None, "▅▅"),
        ([0, float("nan"), 1], None, "▁ █"),
        ([float("nan")], None, " "),
        ([], None, ""),
    ],
)
def test_sparkline(values: list[float], low: float | None, picture: str) -> None:
    assert sparkline(values, low=low) == picture


def test_pictures_are_png_files_and_nothing_half_written_stays(tmp_path: Path) -> None:
    settings = FeatureSettings()
    notes = [Note(0.1, 0.5, 60.0)]
    spectrogram = np.zeros((settings.frequency_bins, 50), np.float32)
    piano_roll_png(tmp_path / "roll.png", spectrogram, settings, notes, notes, title="a")
    piano_roll_png(tmp_path / "empty.png", spectrogram, settings, [])
    curves_png(tmp_path / "curves.png", {"train/loss": [(0, 2.0), (1, 1.0)], "val/note_f1": []})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curves.png", "empty.png", "roll.png"]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in tmp_path.iterdir())


def test_a_name_in_a_picture_is_text_and_no_formula(tmp_path: Path) -> None:
    settings = FeatureSettings()
    spectrogram = np.zeros((settings.frequency_bins, 50), np.float32)
    name = "$\\frac{$ a_$b^ \x1b[2J\n"  # half a formula would end the drawing, as in matplotlib
    piano_roll_png(tmp_path / "roll.png", spectrogram, settings, [], title=name)
    curves_png(tmp_path / "curves.png", {name: [(0, 2.0), (1, 1.0)]})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curves.png", "roll.png"]

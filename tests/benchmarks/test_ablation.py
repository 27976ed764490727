from __future__ import annotations

import numpy as np

from benchmarks.ablation import SINGERS, difference, table
from karaoke_train.inference.evaluate import DRAWS, SCORES
from karaoke_train.synth import TRAIN_VOICES, VALIDATION_VOICES

SHAPE = (len(VALIDATION_VOICES), 20, len(SCORES))


def test_a_row_that_is_worse_by_as_much_in_each_song_is_worse_by_that() -> None:
    first = np.random.default_rng(0).random(SHAPE)
    apart, (low, high) = difference(first - 0.1, first)
    np.testing.assert_allclose([apart, low, high], -0.1)


def test_the_interval_holds_what_songs_differ_by() -> None:
    noise = np.random.default_rng(1).normal(0.0, 0.1, SHAPE)
    apart, (low, high) = difference(noise, np.zeros(SHAPE))
    assert (low < apart).all()
    assert (apart < high).all()
    assert DRAWS >= 1_000
    assert np.abs(high - low - 4 * 0.1 / np.sqrt(20)).max() < 0.05


def test_every_singer_has_a_row_per_style_and_all_sing_the_same_melodies() -> None:
    lines = table({name: [np.full(SHAPE, 0.5)] for name in SINGERS}).splitlines()
    assert len(lines) == 2 + len(SINGERS) * len(VALIDATION_VOICES)
    assert {line.count("|") for line in lines} == {lines[0].count("|")}
    assert {singer.name for singer in SINGERS.values()} == {TRAIN_VOICES.name}

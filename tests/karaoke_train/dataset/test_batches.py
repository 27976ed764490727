from __future__ import annotations

import warnings
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from karaoke_train.audio.features import FeatureSettings
from karaoke_train.audio.io import AudioError
from karaoke_train.dataset.batches import BucketSampler, FeatureCache, SegmentDataset, collate
from karaoke_train.dataset.songs import FileSong, Segment
from karaoke_train.notes import Note
from karaoke_train.training.trainer import unpack_notes

SETTINGS = FeatureSettings()
NOTES = (Note(0.1, 0.4, 60.0), Note(0.5, 0.7, 62.5))


@dataclass
class FakeSong:
    """Noise that counts how often it is loaded, or says that its file is damaged."""

    name: str
    duration: float = 1.0
    damaged: bool = False
    notes: tuple[Note, ...] = NOTES
    loads: int = 0

    def load(self, start: float = 0.0, end: float | None = None) -> np.ndarray:
        self.loads += 1
        if self.damaged:
            raise AudioError(Path(self.name), "is damaged")
        rng = np.random.default_rng(len(self.name))
        return rng.standard_normal(round(self.duration * 16_000)).astype(np.float32) * 0.1

    def __repr__(self) -> str:
        return self.name


def segment(song: object) -> Segment:
    return Segment(song, 0.0, song.duration, song.notes)  # type: ignore[arg-type,attr-defined]


def test_sampler_visits_each_segment_once_in_another_order_each_epoch() -> None:
    sampler = BucketSampler([float(i % 7) for i in range(40)], 4, seed=1)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(first) == list(range(40))
    assert sorted(second) == list(range(40, 80))
    assert [key % 40 for key in second] != first


def test_sampler_batches_are_of_similar_length() -> None:
    lengths = [float(x) for x in np.random.default_rng(0).uniform(1, 30, 256)]
    order = list(BucketSampler(lengths, 8, seed=1))
    spreads = [np.ptp([lengths[i] for i in order[k : k + 8]]) for k in range(0, 256, 8)]
    assert np.mean(spreads) < 4  # of 29 s; unsorted batches spread over 22 s


def test_sampler_of_the_same_seed_and_epoch_is_the_same() -> None:
    one, two = (BucketSampler([1.0] * 10, 3, seed=5) for _ in range(2))
    assert list(one) == list(two)


def test_augmentation_depends_on_key_and_seed_alone() -> None:
    def louder(
        audio: np.ndarray, notes: tuple[Note, ...], rng: np.random.Generator
    ) -> tuple[np.ndarray, tuple[Note, ...]]:
        return audio + rng.standard_normal(len(audio)).astype(np.float32), notes

    dataset = SegmentDataset([segment(FakeSong("a"))] * 2, SETTINGS, augment=louder, seed=7)
    again = SegmentDataset([segment(FakeSong("a"))] * 2, SETTINGS, augment=louder, seed=7)
    torch.testing.assert_close(dataset[3].features.mel, again[3].features.mel)
    assert not torch.equal(dataset[3].features.mel, dataset[1].features.mel)


def test_what_the_cache_holds_is_heard_as_it_is_and_all_else_changed() -> None:
    def silent(
        audio: np.ndarray, notes: tuple[Note, ...], rng: np.random.Generator
    ) -> tuple[np.ndarray, tuple[Note, ...]]:
        return np.zeros_like(audio), ()

    sung, recorded = segment(FakeSong("sung")), segment(FakeSong("recorded"))
    cache = FeatureCache()
    cache.fill([sung], SETTINGS, workers=0)
    dataset = SegmentDataset([sung, recorded], SETTINGS, cache=cache, augment=silent)
    assert dataset[0].notes == NOTES
    assert dataset[1].notes == ()


def test_damaged_audio_is_named_and_the_next_segment_stands_in() -> None:
    songs = [FakeSong("good"), FakeSong("broken.wav", damaged=True), FakeSong("fine")]
    dataset = SegmentDataset([segment(song) for song in songs], SETTINGS)
    with pytest.warns(UserWarning, match=r"broken\.wav: is damaged"):
        assert dataset[1].index == 2


def test_dataset_of_damaged_audio_alone_is_an_error() -> None:
    dataset = SegmentDataset([segment(FakeSong("bad", damaged=True))], SETTINGS)
    with pytest.warns(UserWarning, match="bad"), pytest.raises(AudioError, match="no segment"):
        dataset[0]


def test_memory_cache_loads_a_song_once() -> None:
    song = FakeSong("a")
    dataset = SegmentDataset([segment(song)], SETTINGS, cache=FeatureCache())
    torch.testing.assert_close(dataset[0].features.mel, dataset[0].features.mel)
    assert song.loads == 1


def test_filled_cache_gives_what_would_have_been_computed() -> None:
    song = FakeSong("a")
    cache = FeatureCache()
    cache.fill([segment(song)], SETTINGS, workers=0)
    cached = SegmentDataset([segment(song)], SETTINGS, cache=cache)[0]
    fresh = SegmentDataset([segment(song)], SETTINGS)[0]
    torch.testing.assert_close(
        cached.features.log_frequency, fresh.features.log_frequency, atol=1e-3, rtol=0
    )
    assert song.loads == 2  # once for each dataset


def file_song(folder: Path, level: float) -> FileSong:
    path = folder / "song.wav"
    rng = np.random.default_rng(0)
    soundfile.write(path, level * rng.standard_normal(16_000), 16_000)
    return FileSong("song", path, NOTES, 1.0)


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_recording_that_is_gone_is_named_and_the_next_segment_stands_in(
    tmp_path: Path, on_disk: bool
) -> None:
    song = file_song(tmp_path, 0.1)
    cache = FeatureCache(tmp_path / "cache" if on_disk else None)
    dataset = SegmentDataset([segment(song), segment(FakeSong("fine"))], SETTINGS, cache=cache)
    song.path.unlink()
    with pytest.warns(UserWarning, match=r"song\.wav: (is not there|can't be read)"):
        assert dataset[0].index == 1


def test_a_recording_is_not_kept_in_memory(tmp_path: Path) -> None:
    song = file_song(tmp_path, 0.1)
    cache = FeatureCache()
    cache.features(segment(song), SETTINGS)
    assert not cache.holds(segment(song), SETTINGS)


def test_disk_cache_survives_the_process_and_notices_a_changed_file(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    first = FeatureCache(folder).features(segment(file_song(tmp_path, 0.1)), SETTINGS)
    [entry] = folder.iterdir()
    again = FeatureCache(folder).features(segment(file_song_unchanged(tmp_path)), SETTINGS)
    torch.testing.assert_close(first.mel, again.mel, atol=1e-3, rtol=0)
    FeatureCache(folder).features(segment(file_song(tmp_path, 0.2)), SETTINGS)
    assert len(list(folder.iterdir())) == 2
    assert entry.exists()


def file_song_unchanged(folder: Path) -> FileSong:
    return FileSong("song", folder / "song.wav", NOTES, 1.0)


def test_damaged_cache_entry_is_computed_anew(tmp_path: Path) -> None:
    song = segment(file_song(tmp_path, 0.1))
    cache = FeatureCache(tmp_path / "cache")
    wanted = cache.features(song, SETTINGS)
    [entry] = (tmp_path / "cache").iterdir()
    for damage in (b"", b"not a zip", entry.read_bytes()[:500]):
        entry.write_bytes(damage)
        torch.testing.assert_close(cache.features(song, SETTINGS).mel, wanted.mel)


def test_a_cache_that_can_not_be_written_is_said_once_and_costs_no_segment(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, no folder")
    song = file_song(tmp_path, 0.1)
    parts = [Segment(song, 0.0, end, NOTES) for end in (0.7, 0.8, 0.9)]
    dataset = SegmentDataset(parts, SETTINGS, cache=FeatureCache(tmp_path / "cache"))
    with warnings.catch_warnings(record=True) as said:
        warnings.resetwarnings()  # as in a program, where pytest does not record each one
        assert [dataset[i].index for i in range(3)] == [0, 1, 2]
    [one] = said
    assert f"features are not cached in {tmp_path / 'cache'} (" in str(one.message)


def test_batch_is_padded_to_its_longest_and_keeps_its_notes() -> None:
    songs = [FakeSong("a", 1.0), FakeSong("bb", 1.5, notes=NOTES[:1])]
    dataset = SegmentDataset([segment(song) for song in songs], SETTINGS)
    batch = collate([dataset[0], dataset[1]])
    assert batch["mel"].shape == (2, 80, 150)
    assert batch["log_frequency"].shape[2] == batch["onset"].shape[1] == 75
    assert batch["lengths"].tolist() == [50, 75]
    first, second = unpack_notes(batch["notes"])
    assert [astuple(note) for note in first] == [pytest.approx(astuple(note)) for note in NOTES]
    assert len(second) == 1
    assert float(batch["mel"][0, 0, -1]) == float(dataset[0].features.mel.min())

"""A frozen encoder runs once per segment, as far as memory allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch

from karaoke_train.training.encoded import EncodedCache

if TYPE_CHECKING:
    from karaoke_train.model.model import VoiceToNotesModel

FRAMES, WIDTH = 4, 6


class Encoder:
    training = True

    def __init__(self) -> None:
        self.runs = 0

    def encode(self, mel: Any, lengths: Any) -> torch.Tensor:
        self.runs += 1
        rows = torch.arange(len(mel), dtype=torch.float32)[:, None, None]
        return rows.expand(len(mel), FRAMES, WIDTH)


def encoded(cache: EncodedCache, encoder: Encoder, *index: int) -> torch.Tensor:
    batch = {
        "mel": torch.zeros(len(index), 80, 2 * FRAMES),
        "log_frequency": torch.zeros(len(index), 3, FRAMES),
        "lengths": torch.tensor([FRAMES - 1] * len(index)),
    }
    return cache.encoded(cast("VoiceToNotesModel", encoder), batch, torch.tensor(index))


def test_a_segment_is_encoded_once_and_comes_back_padded() -> None:
    cache, encoder = EncodedCache(), Encoder()
    first = encoded(cache, encoder, 0, 1)
    again = encoded(cache, encoder, 1, 0)
    assert encoder.runs == 1
    assert again.shape == first.shape
    assert torch.equal(again[0, :-1], first[1, :-1])
    assert not again[:, -1].any()  # beyond its length


def test_a_batch_of_which_one_segment_is_new_is_encoded() -> None:
    cache, encoder = EncodedCache(), Encoder()
    encoded(cache, encoder, 0, 1)
    assert encoded(cache, encoder, 1, 2).shape == (2, FRAMES, WIDTH)
    assert encoder.runs == 2


def test_a_segment_to_validate_on_is_another_than_one_to_train_on() -> None:
    cache, encoder = EncodedCache(), Encoder()
    encoded(cache, encoder, 0)
    encoder.training = False
    encoded(cache, encoder, 0)
    assert encoder.runs == 2


def test_what_finds_no_room_is_encoded_anew_each_time() -> None:
    one = (FRAMES - 1) * WIDTH * 2  # bytes: half floats of its frames
    cache, encoder = EncodedCache(largest=one), Encoder()
    for index in (0, 1, 0, 1):
        encoded(cache, encoder, index)
    assert encoder.runs == 3

"""No two metrics get the same name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from karaoke_train.runlog.metric_names import MetricNames, free_names, number, part_of


@pytest.mark.parametrize(
    ("key", "part", "bare"),
    [
        ("loss", "train", "loss"),
        ("train_loss", "train", "loss"),
        ("train/loss", "train", "loss"),
        ("eval_loss", "val", "loss"),
        ("val/loss/dataloader_idx_0", "val", "loss/dataloader_idx_0"),
        ("test_acc_top_5", "test", "acc_top_5"),
        ("validity", "train", "validity"),
        ("testing_x", "train", "testing_x"),
        ("final/best", "train", "final/best"),
        ("val", "train", "val"),
        ("train_", "train", "train_"),
        ("", "train", ""),
    ],
)
def test_a_names_first_word_says_which_part_of_the_data_it_is_of(
    key: str, part: str, bare: str
) -> None:
    assert part_of(key) == (part, bare)


words = st.sampled_from(["train", "val", "eval", "loss", "_", "/", ""])
keys = st.lists(words, max_size=4).map("".join)


@given(st.lists(st.sets(keys, max_size=5), max_size=5))
def test_every_metric_keeps_a_name_that_no_other_has(records: list[set[str]]) -> None:
    names, given_so_far = MetricNames(), {}
    for record in records:
        found = names.of(record)
        assert found.keys() == record
        for key, name in found.items():
            assert given_so_far.setdefault(key, name) == name
    assert len(set(given_so_far.values())) == len(given_so_far)


def test_the_plain_name_has_the_better_right_and_the_first_to_come_keeps_it() -> None:
    names = MetricNames()
    assert names.of(["train_loss", "loss"]) == {
        "loss": "train/loss",
        "train_loss": "train/train_loss",
    }
    names.forget()
    assert names.of(["train_loss"]) == {"train_loss": "train/loss"}
    assert names.of(["loss"]) == {"loss": "train/loss_"}


def test_another_name_than_the_rules_is_news_once() -> None:
    names = MetricNames()
    found = names.of(["eval_loss", "val_loss", "loss"])
    (sentence,) = names.news(found)
    assert sentence.startswith(
        "the metric 'val_loss' is written as 'val/val_loss', since 'eval_loss' is 'val/loss'"
    )
    assert names.news(found) == []


def test_a_tensor_of_one_element_is_a_number_and_a_text_is_none() -> None:
    assert number(torch.tensor([0.5])) == 0.5
    assert number(np.float32(0.5)) == 0.5
    for value in ("0.5", None, torch.ones(2), np.ones(2), [1], {}, 10**400):
        assert number(value) is None


@pytest.mark.parametrize(
    ("field", "value"), [(np.float32(1.5), 10**400), (np.ones(2), 1.0), (torch.ones(2), 1.0)]
)
def test_a_metric_that_its_namesake_cannot_be_compared_with_has_a_name_of_its_own(
    field: object, value: object
) -> None:
    assert free_names("train", {"epoch": field}, {"epoch": value}) == {"epoch": "train/epoch"}

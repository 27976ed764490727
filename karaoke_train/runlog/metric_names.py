"""The names that a trainer gives its metrics -> their names in the record log; pure.

A name's first word says which part of the data it is of: `train_x` and `train/x` are `train/x`;
`val_x`, `val/x`, `eval_x` and `eval/x` are `val/x`; `test_x` and `test/x` are `test/x`. What says
nothing is of the training: `x` is `train/x`. Where two would get the same name, the second has its
whole name behind the slash: `loss` is `train/loss`, and `train_loss` beside it `train/train_loss`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import chain, count
from typing import Any, Final

# What tells transformers' last word of a training, which is about the whole of it
LAST_WORD: Final = {"train_runtime", "train_loss", "total_flos"}
TIMED: Final = re.compile(r"(.+)_runtime")  # in what an evaluation or a prediction logs
WORDS: Final = {"train": "train", "val": "val", "eval": "val", "test": "test"}


def part_of(key: str) -> tuple[str, str]:
    """Part of the data (train, val or test), and the name within it: `eval_loss` is val's loss."""
    word = key.partition("/")[0].partition("_")[0]
    bare = key[len(word) + 1 :]
    return (WORDS[word], bare) if word in WORDS and bare else ("train", key)


class MetricNames:
    """Gives each metric a name that no other has. What has one keeps it until `forget`."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}  # name in the log -> the trainer's
        self._told: set[str] = set()

    def forget(self, **taken: str) -> None:
        """Let all names go but these: `loss="train/loss"`."""
        self._owners = {name: key for key, name in taken.items()}

    def of(self, keys: Iterable[str]) -> dict[str, str]:
        """The trainer's name -> that in the log."""
        # Plain ones first: of {"train_loss", "loss"} the latter is what `train/loss` is about
        ordered = sorted(keys, key=lambda key: part_of(key)[1] != key)
        return {key: self._take(key) for key in ordered}

    def news(self, names: Mapping[str, str]) -> list[str]:
        """A sentence per metric that has another name than the rule's, each once."""
        sentences = []
        for key, name in names.items():
            usual = "/".join(part_of(key))
            owner = self._owners.get(usual, key)
            if owner == key or key in self._told:
                continue
            self._told.add(key)
            sentences.append(
                f"the metric {key!r} is written as {name!r}, since {owner!r} is "
                f"{usual!r} already. Log it under another name to choose that."
            )
        return sentences

    def _take(self, key: str) -> str:
        part, bare = part_of(key)
        longer = (f"{part}/{key}{'_' * more}" for more in count())
        for name in chain([f"{part}/{bare}"], longer):
            if self._owners.setdefault(name, key) == key:
                return name
        raise AssertionError("some name is free")


def free_names(kind: str, own: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, str]:
    """New names for the metrics of a record that are named like its `own` fields and say something
    else than these: `step` becomes `train/step`, with `_` behind it where that is taken."""
    names: dict[str, str] = {}
    for key in own.keys() & metrics.keys():
        if _says_the_same(metrics[key], own[key]):  # trainers hand the epoch in twice
            continue
        name = f"{kind}/{key}"
        while name in metrics:
            name += "_"
        names[key] = name
    return names


def _says_the_same(value: Any, field: Any) -> bool:
    try:
        return isinstance(value, (int, float, str)) and bool(value == field)
    # Of an array `==` gives no single answer, and numpy's numbers refuse integers past 64 bits
    except (ValueError, OverflowError, RuntimeError):
        return False


def number(value: Any) -> float | None:
    """The value of a metric that is one number, such as a float or a tensor with one element."""
    if isinstance(value, str):
        return None
    try:
        return float(value)
    # RuntimeError: torch, of several elements. OverflowError: an integer that no float can hold
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None


def transformers_names(names: MetricNames, metrics: Mapping[str, Any]) -> dict[str, str]:
    """The names of what transformers' Trainer logs in one record. What an evaluation with a prefix
    of its own logs is under that prefix; the mean loss of the last word is `train/train_loss`, as
    `train/loss` is a step's."""
    own = own_prefix(metrics)
    last_word = metrics.keys() >= LAST_WORD
    names.forget(**({"loss": "train/loss"} if last_word else {}))
    found = names.of(key for key in metrics if not (own and key.startswith(f"{own}_")))
    return found | {key: f"{own}/{key[len(own) + 1 :]}" for key in metrics if key not in found}


def own_prefix(metrics: Mapping[str, Any]) -> str:
    """The prefix of an evaluation or prediction that was given one (`metric_key_prefix`); empty
    where it is one of those that say of themselves what they are."""
    for key in metrics:
        timed = TIMED.fullmatch(key)
        if timed and f"{timed[1]}_samples_per_second" in metrics:
            word = timed[1].partition("_")[0]
            return "" if word in ("train", "eval", "val", "test") else timed[1]
    return ""

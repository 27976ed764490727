"""What a run is before its first line, as both lanes tell it: config, program, axes of its metrics.

The direct lane writes them as UpsertBucket takes them, in the shape that wandb-core 0.31 sends.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from typing import Any, Final

from karaoke_train.runlog.format import RunHeader
from karaoke_train.runlog.secrets import cut_argv, cut_config
from syncd.destination.rows import AXES, AXIS_KEYS
from syncd.destination.wandb.bulk import finite, plain

_PYTHON: Final = ".".join(map(str, sys.version_info[:3]))
# Telemetry. A run whose config lacks `_wandb.value.t` counts as one that does not exist yet, and
# the SDK would start it anew: it is how a run may change lanes.
_TELEMETRY: Final[Mapping[str, Any]] = {"4": _PYTHON, "5": "0.31.0"}
# define_metric in numbers (wandb_telemetry's MetricRecord): 1 name, 2 glob, 5 the place of its axis
# in this list from 1, 6 options (3: defined by hand)
_METRICS: Final[list[dict[str, Any]]] = [
    *({"1": axis, "6": [3], "7": []} for axis in AXIS_KEYS),
    *({"2": glob, "5": AXIS_KEYS.index(axis) + 1, "6": [], "7": []} for glob, axis in AXES.items()),
]


def wandb_config(header: RunHeader, allowed: Collection[str] = ()) -> dict[str, Any]:
    """The run's config as wandb shows it: the trainer's, and under `trainer` (`syncd/trainer` where
    the config has one of its own) where it ran. NaN and the infinities are null there: the SDK
    would send the infinities as they are, in JSON that knows none. Without its secrets, but for
    those whose names are `allowed`; older and foreign writers leave them in the command line, too.
    """
    name = "syncd/trainer" if "trainer" in header.config else "trainer"
    argv = header.trainer.get("argv")
    words = {"argv": cut_argv(list(map(str, argv)))} if isinstance(argv, list) else {}
    masked = cut_config(header.config, (*allowed, *header.allow_config_keys))
    masked[name] = cut_config({**header.trainer, **words})
    config: dict[str, Any] = plain(finite(masked))
    return config


def run_program(header: RunHeader) -> str:
    """The trainer's program."""
    argv = header.trainer.get("argv")
    return cut_argv([str(argv[0])])[0] if isinstance(argv, list) and argv else ""


def run_config(
    header: RunHeader, known: Mapping[str, Any], allowed: Collection[str] = ()
) -> dict[str, Any]:
    """The config as UpsertBucket takes it, over what the server has (`known`): a config replaces
    the server's whole, and what a user added there must not go. Leaf by leaf, as the SDK does."""
    config = dict(known)
    for key, value in wandb_config(header, allowed).items():
        config[key] = {"value": _over(value, _value_of(known.get(key)))}
    own = {"t": dict(_TELEMETRY), "m": _METRICS, "python_version": _PYTHON}
    return {**config, "_wandb": {"value": own}}


def _value_of(entry: Any) -> Any:
    return entry.get("value") if isinstance(entry, Mapping) else None


def _over(new: Any, old: Any) -> Any:
    if not isinstance(new, dict) or not isinstance(old, dict):
        return new
    return {**old, **{key: _over(value, old.get(key)) for key, value in new.items()}}

"""What a run is told before its first line."""

from __future__ import annotations

import math

from karaoke_train.runlog.format import RunHeader
from syncd.destination.base import Labels
from syncd.destination.rows import AXIS_KEYS
from syncd.destination.wandb.definitions import run_config, wandb_config


def header(**config: object) -> RunHeader:
    return RunHeader("r", "n", "p", config)


def test_what_json_has_no_number_for_is_null_and_empty_objects_go() -> None:
    config = header(nan=math.nan, l=[-math.inf, {}, {"a": {}}], deep={"e": {}, "x": 1}, e={})
    assert wandb_config(config) == {"nan": None, "l": [None, {}, {"a": {}}], "deep": {"x": 1}}


def test_secrets_of_configs_and_command_lines_are_masked_unless_they_are_allowed() -> None:
    config = {"api_key": "a", "hf_token": "b", "lr": 1}
    given = RunHeader("r", "n", "p", config, trainer={"argv": ["t.py", "--key", "c"], "pid": 1})
    assert wandb_config(given) == {
        "api_key": "***", "hf_token": "***", "lr": 1,
        "trainer": {"argv": ["t.py", "--key", "***"], "pid": 1},
    }  # fmt: skip
    assert wandb_config(given, ["hf_*"])["hf_token"] == "b"
    allowed = given._replace(allow_config_keys=("api_key",))
    assert [entry["value"] for entry in run_config(allowed, {}).values()][:2] == ["a", "***"]


def test_where_a_run_came_from_is_told_without_a_login() -> None:
    given = RunHeader("r", "n", "p", trainer={"git": {"remote": "https://me:pw@host/x"}})
    assert wandb_config(given)["trainer"] == {"git": {"remote": "https://***@host/x"}}


def test_labels_are_told_without_secrets() -> None:
    token = "hf_" + "aB" * 17
    given = RunHeader("r", "n", "p", tags=(token,), group=token, job_type="a", notes=f"has {token}")
    assert Labels.of(given) == Labels(("***",), "***", "a", "has ***")


def test_a_config_goes_over_the_servers_leaf_by_leaf() -> None:
    known = {
        "lr": {"value": 1, "desc": None},
        "mine": {"value": {"of": "a user"}},
        "net": {"value": {"depth": 3, "heads": {"a": 1}}},
        "was": {"value": {"an": "object"}},
        "odd": "no entry",
    }
    told = run_config(header(lr=2, net={"heads": {"b": 2}, "width": 4}, was=[1], odd=5), known)
    assert {key: entry["value"] for key, entry in told.items() if key != "_wandb"} == {
        "lr": 2,
        "mine": {"of": "a user"},
        "net": {"depth": 3, "heads": {"a": 1, "b": 2}, "width": 4},
        "was": [1],
        "odd": 5,
    }
    assert known["net"] == {"value": {"depth": 3, "heads": {"a": 1}}}


def test_every_axis_is_defined_and_each_metric_refers_to_its_own() -> None:
    metrics = run_config(header(), {})["_wandb"]["value"]["m"]
    assert [metric["1"] for metric in metrics if "1" in metric] == list(AXIS_KEYS)
    axes = {metric["2"]: metrics[metric["5"] - 1]["1"] for metric in metrics if "2" in metric}
    assert axes["train/*"] == "trainer/step"
    assert axes["epoch_summary/*"] == "epoch"
    assert axes["system/*"] == "trainer/runtime"

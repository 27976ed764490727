"""Anybody's Trainer, our callback: one line, one record log."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import torch
from torch.utils.data import Dataset
from transformers import PretrainedConfig, Trainer, TrainerCallback, TrainingArguments

from karaoke_train.callback import register
from karaoke_train.runlog import RunLog, RunLogError
from karaoke_train.runlog.metric_names import own_prefix
from karaoke_train.training.runlog_callback import RunLogCallback, loss_key


class Doubling(Dataset[dict[str, torch.Tensor]]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        x = torch.tensor([float(index)])
        return {"x": x, "labels": 2 * x}


class Line(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        y = x * self.weight
        return {"loss": (y - labels).square().mean(), "y": y}


class Then(TrainerCallback):
    """Calls something of ours once, after the first step."""

    def __init__(self, what: Any) -> None:
        self.what = what

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 1:
            self.what()


def trainer_for(tmp_path: Path, callback: RunLogCallback | None, **options: Any) -> Trainer:
    data = options.pop("eval_dataset", Doubling())
    settings: dict[str, Any] = {
        "output_dir": str(tmp_path / "out"),
        "per_device_train_batch_size": 4,
        "num_train_epochs": 2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
    }
    return Trainer(
        model=Line(),
        args=TrainingArguments(**{**settings, **options}),
        train_dataset=Doubling(),
        eval_dataset=data,
        callbacks=[callback] if callback else [],
    )


def records_of(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def trained(tmp_path: Path, callback_options: dict[str, Any], **options: Any) -> list[Any]:
    with RunLog.create(tmp_path / "logs", project="lines") as log:
        trainer_for(tmp_path, RunLogCallback(log, **callback_options), **options).train()
    return records_of(log.path)


def kinds_of(log: RunLog) -> list[str]:
    return [record["type"] for record in records_of(log.path)]


def test_steps_validations_and_epochs_become_records_in_order(tmp_path: Path) -> None:
    records = trained(tmp_path, {}, eval_strategy="epoch")
    kinds = [record["type"] for record in records]
    epoch = ["train", "train", "val", "epoch_summary"]
    assert kinds == ["config", "config", *epoch, *epoch, "train", "end"]
    assert [r["step"] for r in records if "train/loss" in r] == [1, 2, 3, 4]
    assert all("val/loss" in r for r in records if r["type"] == "val")


def test_epoch_summary_is_the_mean_of_its_steps_and_the_last_validation(tmp_path: Path) -> None:
    records = trained(tmp_path, {}, eval_strategy="epoch")
    losses = [r["train/loss"] for r in records if "train/loss" in r]
    validations = [r["val/loss"] for r in records if r["type"] == "val"]
    summaries = [r for r in records if r["type"] == "epoch_summary"]
    assert [s["epoch"] for s in summaries] == [1, 2]
    assert [s["train_loss"] for s in summaries] == [sum(losses[:2]) / 2, sum(losses[2:]) / 2]
    assert [s["val_loss"] for s in summaries] == validations


def test_the_summary_of_an_epoch_that_was_resumed_in_its_middle_is_of_all_of_it(
    tmp_path: Path,
) -> None:
    log = RunLog.create(tmp_path / "logs")
    options: dict[str, Any] = {"save_strategy": "steps", "save_steps": 1, "num_train_epochs": 2}
    options["per_device_train_batch_size"] = 2
    trainer = trainer_for(tmp_path, RunLogCallback(log, close=False), **options)
    trainer.train()
    whole = [r for r in records_of(log.path) if r["type"] == "epoch_summary"]
    per_epoch = trainer.state.max_steps // 2
    assert per_epoch > 2
    place = tmp_path / "out" / f"checkpoint-{per_epoch + 2}"
    again = RunLog.create(tmp_path / "again")
    resumed = trainer_for(tmp_path, RunLogCallback(again), **options)
    resumed.train(resume_from_checkpoint=str(place))
    parts = [r for r in records_of(again.path) if r["type"] == "epoch_summary"]
    assert [r["epoch"] for r in parts] == [2]
    assert parts[0]["train_loss"] == whole[1]["train_loss"]
    log.close()


def test_the_summary_after_a_resumed_epoch_holds_no_step_of_the_one_before(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path / "logs")
    options: dict[str, Any] = {"save_strategy": "epoch", "logging_steps": 3, "num_train_epochs": 3}
    options["per_device_train_batch_size"] = 2  # 4 steps an epoch: logged at 3, 6, 9 and 12
    trainer_for(tmp_path, RunLogCallback(log), **options).train()
    whole = [r for r in records_of(log.path) if r["type"] == "epoch_summary"]
    again = RunLog.create(tmp_path / "again")
    resumed = trainer_for(tmp_path, RunLogCallback(again), **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-4"))
    [record] = [r for r in records_of(again.path) if r.get("step") == 6 and r["type"] == "train"]
    parts = [r for r in records_of(again.path) if r["type"] == "epoch_summary"]
    assert [r["epoch"] for r in parts] == [2, 3]
    assert parts[0]["train_loss"] == record["train/loss"]
    assert parts[1]["train_loss"] == whole[2]["train_loss"]


def test_training_without_validation_still_has_epoch_summaries(tmp_path: Path) -> None:
    kinds = [record["type"] for record in trained(tmp_path, {})]
    epoch = ["train", "train", "epoch_summary"]
    assert kinds == ["config", "config", *epoch, *epoch, "train", "end"]


def test_pictures_become_media_records(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG")
    records = trained(
        tmp_path, {"pictures": lambda step: {"val/roll": picture}}, eval_strategy="epoch"
    )
    media = [record for record in records if record["type"] == "media"]
    assert [record["step"] for record in media] == [2, 4]
    assert {record["key"] for record in media} == {"val/roll"}


def test_other_ranks_write_nothing() -> None:
    callback = RunLogCallback(None)
    state = type("State", (), {"is_world_process_zero": True, "global_step": 1, "epoch": 1.0})()
    callback.on_log(None, state, None, {"loss": 1.0})  # type: ignore[arg-type]
    callback.on_epoch_end(None, state, None)  # type: ignore[arg-type]
    callback.on_evaluate(None, state, None)  # type: ignore[arg-type]


# What is logged


def logged_after_a_step(tmp_path: Path, *logs: dict[str, Any]) -> list[dict[str, Any]]:
    """The metrics of what a user's code logs between the Trainer's own, record by record."""
    with RunLog.create(tmp_path / "logs", project="lines") as log:
        trainer = trainer_for(tmp_path, RunLogCallback(log))
        trainer.add_callback(Then(lambda: [trainer.log(dict(metrics)) for metrics in logs]))
        trainer.train()
    own = {"train/grad_norm", "train/total_flos"}  # in each record of the Trainer's
    metrics = [r for r in records_of(log.path) if r["type"] in ("train", "val")]
    return [{k: v for k, v in r.items() if "/" in k} for r in metrics if own.isdisjoint(r)]


def test_what_is_named_like_a_total_is_logged_like_anything_else(tmp_path: Path) -> None:
    assert logged_after_a_step(tmp_path, {"train_loss": 0.5, "train_f1": 0.7}) == [
        {"train/loss": 0.5, "train/f1": 0.7}
    ]
    assert logged_after_a_step(tmp_path, {"train_runtime": 1.0, "final/threshold": 0.4}) == [
        {"train/runtime": 1.0, "train/final/threshold": 0.4}
    ]
    assert logged_after_a_step(tmp_path, {"step": 7, "eval/f1": 1.0}) == [
        {"train/step": 7},
        {"val/f1": 1.0},
    ]


def test_two_names_for_the_loss_keep_a_value_each_and_the_user_is_told_once(
    tmp_path: Path,
) -> None:
    with pytest.warns(UserWarning, match="'train_loss' is written as 'train/train_loss'") as told:
        found = logged_after_a_step(tmp_path, *[{"train_loss": 1.0, "loss": 2.0}] * 2)
    assert found == [{"train/loss": 2.0, "train/train_loss": 1.0}] * 2
    assert len(told) == 1


def test_the_trainers_last_word_arrives_and_its_mean_loss_is_no_step_of_the_curve(
    tmp_path: Path,
) -> None:
    records = trained(tmp_path, {})
    (last,) = (r for r in records if "train/total_flos" in r)
    assert last["step"] == 4
    losses = [r["train/loss"] for r in records if "train/loss" in r]
    assert last["train/train_loss"] == pytest.approx(sum(losses) / 4)
    assert last.keys() >= {"train/runtime", "train/samples_per_second", "train/steps_per_second"}
    assert "train/loss" not in last
    summary = [r for r in records if r["type"] == "epoch_summary"][-1]
    assert summary["train_metrics"].keys() == {"grad_norm", "learning_rate"}


def test_an_epochs_summary_has_every_evaluation_set(tmp_path: Path) -> None:
    sets = {"a": Doubling(), "b": Doubling()}
    records = trained(tmp_path, {}, eval_strategy="epoch", eval_dataset=sets)
    summaries = [r for r in records if r["type"] == "epoch_summary"]
    assert [s["epoch"] for s in summaries] == [1, 2]
    for summary, validations in zip(summaries, ([0, 1], [2, 3]), strict=True):
        vals = [r for r in records if r["type"] == "val"]
        a, b = (vals[i] for i in validations)
        assert summary["val_metrics"].keys() >= {"a_loss", "b_loss", "a_runtime", "b_runtime"}
        assert summary["val_loss"] == a["val/a_loss"] == summary["val_metrics"]["a_loss"]
        assert summary["val_metrics"]["b_loss"] == b["val/b_loss"]


def test_the_validation_loss_of_several_sets_is_of_the_one_that_the_best_model_is_chosen_by() -> (
    None
):
    names = ("a_loss", "a_runtime", "a_b_loss", "a_b_runtime", "c_acc", "c_runtime")
    val = {f"val/{name}": 1.0 for name in names}
    assert loss_key(val) == "val/a_loss"
    assert loss_key(val, "eval_a_b_f1") == "val/a_b_loss"
    assert loss_key(val, "loss") == "val/a_loss"
    assert loss_key(val, "c_acc") == "val/a_loss"
    assert loss_key({**val, "val/loss": 1.0}, "a_b_f1") == "val/loss"
    assert loss_key({"val/aux_loss": 1.0, "val/runtime": 1.0}) == "val/loss"


def test_evaluations_and_predictions_are_under_their_own_prefix(tmp_path: Path) -> None:
    with RunLog.create(tmp_path / "logs", project="lines") as log:
        trainer = trainer_for(tmp_path, RunLogCallback(log))
        trainer.evaluate(Doubling(), metric_key_prefix="test")
        trainer.predict(Doubling())
        trainer.evaluate(Doubling(), metric_key_prefix="held_out")
        trainer.predict(Doubling(), metric_key_prefix="predict")
    records = records_of(log.path)
    assert [r["type"] for r in records] == ["config", "val", "val", "val", "val", "end"]
    prefixes = ["test", "test", "held_out", "predict"]
    for record, prefix in zip(records[1:5], prefixes, strict=True):
        found = {key for key in record if "/" in key}
        assert {f"{prefix}/loss", f"{prefix}/runtime"} <= found
        assert {key.partition("/")[0] for key in found} == {prefix}


def test_an_evaluation_that_says_what_it_is_of_has_no_prefix_of_its_own() -> None:
    speed = ("runtime", "samples_per_second")
    for prefix in ("eval", "eval_a", "test", "train"):
        assert own_prefix({f"{prefix}_{what}": 1.0 for what in speed}) == ""
    assert own_prefix({"dev_a_runtime": 1.0, "dev_a_samples_per_second": 1.0}) == "dev_a"
    assert own_prefix({"my_runtime": 1.0}) == ""


# The run's config


def test_training_arguments_and_the_models_config_come_into_the_runs_config(
    tmp_path: Path,
) -> None:
    log = RunLog.create(tmp_path / "logs", project="lines", config={"mine": 1, "seed": 0})
    trainer = trainer_for(tmp_path, RunLogCallback(log), seed=7, hub_token="hf_secret")
    trainer.model.config = PretrainedConfig(id2label={0: "sung", 1: "silent"})
    trainer.model.num_parameters = lambda: 1
    trainer.train()
    config = log.config
    assert config["mine"] == 1
    assert config["seed"] == 7  # the true one
    assert config["learning_rate"] == 5e-5
    assert config["lr_scheduler_kwargs"] is None
    assert config["id2label"] == {"0": "sung", "1": "silent"}
    assert config["model/num_parameters"] == 1
    assert b"hf_secret" not in log.path.read_bytes()
    trainer.train()
    assert kinds_of(log).count("config") == 3  # the first, the Trainer's, the reopened run's


@dataclass
class Size:
    width: int = 3


class Odd:
    """A config that fails when it is asked for its values."""

    def to_dict(self) -> dict[str, Any]:
        raise RuntimeError("not yet")

    def __str__(self) -> str:
        return "odd"


@pytest.mark.parametrize(
    ("own", "written"),
    [(Size(), {"width": 3}), (Namespace(width=4), {"width": 4}), (Odd(), {"model_config": "odd"})],
)
def test_a_model_of_ones_own_may_have_a_config_of_any_kind(
    tmp_path: Path, own: Any, written: dict[str, Any]
) -> None:
    log = RunLog.create(tmp_path / "logs")
    trainer = trainer_for(tmp_path, RunLogCallback(log), max_steps=1)
    assert trainer.model is not None
    trainer.model.config = own
    trainer.model.num_parameters = lambda of_what: 1
    trainer.train()
    assert written.items() <= log.config.items()
    assert log.config["max_steps"] == 1


def test_a_config_can_be_left_as_it_is(tmp_path: Path) -> None:
    records = trained(tmp_path, {"config": False})
    assert [r["config"] for r in records if r["type"] == "config"] == [{}]


# The run's end


def test_a_run_that_nobody_closes_ends_when_training_ends(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path / "logs", project="lines")
    trainer_for(tmp_path, RunLogCallback(log)).train()
    assert records_of(log.path)[-1]["status"] == "finished"
    assert log.ended == "finished"


def test_an_evaluation_after_the_end_goes_on_with_the_run_and_ends_it_again(
    tmp_path: Path,
) -> None:
    log = RunLog.create(tmp_path / "logs", project="lines")
    trainer = trainer_for(tmp_path, RunLogCallback(log, config=False))
    trainer.train()
    done = len(kinds_of(log))
    trainer.evaluate()
    trainer.predict(Doubling())
    trainer.log({"threshold": 0.4})
    assert kinds_of(log)[done - 1 :] == [
        "end",
        *("config", "val", "end"),
        *("config", "val", "end"),
        *("config", "train", "end"),
    ]
    assert {r["attempt"] for r in records_of(log.path) if r["type"] == "config"} == {1}


def test_an_evaluation_after_a_with_block_goes_on_and_ends_as_the_run_had(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path / "logs", project="lines")
    with suppress(KeyError), log:
        raise KeyError
    trainer_for(tmp_path, RunLogCallback(log)).evaluate()
    ends = [r["status"] for r in records_of(log.path) if r["type"] == "end"]
    assert ends == ["failed", "failed"]


def test_a_with_block_ends_the_run_itself(tmp_path: Path) -> None:
    with RunLog.create(tmp_path / "logs", project="lines") as log:
        trainer = trainer_for(tmp_path, RunLogCallback(log))
        trainer.train()
        trainer.evaluate()
        log.val(4, 2.0, {"val/mine": 1.0})
        assert "end" not in kinds_of(log)
    assert kinds_of(log).count("end") == 1


def test_the_callers_own_records_after_training_are_taken(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path / "logs", project="lines")
    trainer_for(tmp_path, RunLogCallback(log)).train()
    log.val(4, 2.0, {"val/mine": 1.0})
    log.close("interrupted")
    assert records_of(log.path)[-1]["status"] == "interrupted"
    with pytest.raises(RunLogError, match="the run has ended"):
        log.val(4, 2.0, {"val/mine": 1.0})


def test_the_caller_can_keep_the_end_to_itself(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path / "logs", project="lines")
    trainer = trainer_for(tmp_path, RunLogCallback(log, close=False))
    trainer.train()
    trainer.evaluate()
    assert "end" not in kinds_of(log)
    log.close()


PROGRAM = """
import sys
from pathlib import Path
from tests.karaoke_train.training import test_runlog_callback as t
folder = Path(sys.argv[1])
log = t.RunLog.create(folder / "logs", project="lines")
trainer = t.trainer_for(folder, t.RunLogCallback(log))
def broken(): raise ValueError("broken")
trainer.add_callback(t.Then(broken))
"""


@pytest.mark.parametrize(
    ("rest", "ends"),
    [
        ("trainer.train()", ["failed"]),
        ("try: trainer.train()\nexcept ValueError: sys.exit(3)", ["failed"]),
        ("try: trainer.train()\nexcept ValueError: trainer.evaluate()", ["finished"]),
        ("trainer.evaluate()", ["finished"]),
    ],
    ids=["error", "exit code", "caught", "evaluation alone"],
)
def test_a_training_that_breaks_ends_the_run_as_its_process_ends(
    tmp_path: Path, rest: str, ends: list[str]
) -> None:
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM + rest, str(tmp_path)],
        capture_output=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    (path,) = (tmp_path / "logs").glob("*.jsonl")
    assert [r["status"] for r in records_of(path) if r["type"] == "end"] == ends


# report_to


@contextmanager
def registered(**options: Any) -> Iterator[None]:
    from transformers.integrations import INTEGRATION_TO_CALLBACK

    register(**options)
    try:
        yield
    finally:
        del INTEGRATION_TO_CALLBACK["karaoke_train"]


def test_a_trainer_reports_to_a_run_of_its_own(tmp_path: Path) -> None:
    with registered(folder=tmp_path / "logs", project="songs"):
        trainer = trainer_for(tmp_path, None, report_to="karaoke_train", run_name="first")
        assert not (tmp_path / "logs").exists()  # nothing to write yet
        trainer.train()
        trainer.evaluate()
    (path,) = (tmp_path / "logs").glob("*.jsonl")
    records = records_of(path)
    assert (records[0]["run_name"], records[0]["project"]) == ("first", "songs")
    assert [r["step"] for r in records if "train/loss" in r] == [1, 2, 3, 4]
    assert "val/loss" in records[-2]
    assert records[-1]["status"] == "finished"


def test_each_trial_of_a_search_is_a_run(tmp_path: Path) -> None:
    with registered(folder=tmp_path / "logs", project="songs"):
        trainer = trainer_for(tmp_path, None, report_to="karaoke_train")
        (callback,) = (
            c for c in trainer.callback_handler.callbacks if isinstance(c, RunLogCallback)
        )
        for trial in ("trial-0", "trial-1"):
            state = SimpleNamespace(
                is_world_process_zero=True,
                is_hyper_param_search=True,
                trial_name=trial,
                global_step=1,
                epoch=1.0,
                log_history=[],
            )
            callback.on_train_begin(trainer.args, state, None)  # type: ignore[arg-type]
            callback.on_log(trainer.args, state, None, {"loss": 1.0})  # type: ignore[arg-type]
            callback.on_train_end(trainer.args, state, None)  # type: ignore[arg-type]
    names = {records_of(path)[0]["run_name"] for path in (tmp_path / "logs").glob("*.jsonl")}
    assert names == {"trial-0", "trial-1"}


def test_a_folder_is_no_log() -> None:
    with pytest.raises(TypeError, match=r"a RunLog is needed.*not 'logs'"):
        RunLogCallback("logs")  # type: ignore[arg-type]

"""RunLog in a trainer's hands: ends that are none yet, a config that grows, no step given."""

from __future__ import annotations

import threading
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from karaoke_train.runlog import LogBusy, RunLog, RunLogError
from karaoke_train.runlog.format import MAX_LINE
from karaoke_train.runlog.layout import lock_path
from karaoke_train.runlog.lock import holder_of
from tests.karaoke_train.runlog.files import records_of, run_python, warned


class SecretPath:
    """What has its text alone."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


@dataclass
class Settings:
    lr: int = 1
    api_key: str = "a-word"


def kinds_of(path: Path) -> list[str]:
    return [record["type"] for record in records_of(path)]


def configs_of(path: Path) -> list[Any]:
    return [record["config"] for record in records_of(path) if record["type"] == "config"]


def test_a_run_that_ended_for_now_is_free_and_goes_on_with_the_next_record(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path, config={"lr": 1}, tags=["a"])
    log.train(1, 0.0, {})
    log.close(final=False)
    assert log.ended == "finished"
    assert holder_of(lock_path(log.path)) is None
    log.val(1, 0.0, {})
    assert log.ended is None
    assert holder_of(lock_path(log.path)) is not None
    log.close("failed", final=False)
    log.close()  # the caller's word stands over the trainer's
    first, *_, again, _, _ = records_of(log.path)[:-2]
    assert kinds_of(log.path) == [
        *("config", "train", "end"),
        *("config", "val", "end"),
        *("config", "end"),
    ]
    own = {"created", "type"}
    assert {k: v for k, v in again.items() if k not in own} == {
        k: v for k, v in first.items() if k not in own
    }
    assert [r["status"] for r in records_of(log.path) if r["type"] == "end"] == [
        "finished",
        "failed",
        "finished",
    ]


def test_a_run_that_was_closed_for_good_takes_records_only_once_it_is_reopened(
    tmp_path: Path,
) -> None:
    log = RunLog.create(tmp_path)
    log.close(final=False)
    log.close()
    with pytest.raises(RunLogError, match="the run has ended"):
        log.train(1, 0.0, {})
    assert log.reopen()
    log.train(1, 0.0, {})
    log.close()
    assert kinds_of(log.path) == ["config", "end", "config", "train", "end"]


def test_reopening_a_run_that_goes_on_is_nothing(tmp_path: Path) -> None:
    with RunLog.create(tmp_path) as log:
        assert log.reopen()
        log.close(final=False)  # the block's business
    assert kinds_of(log.path) == ["config", "end"]


def test_where_another_process_goes_on_with_the_run_that_is_said_once_and_nothing_breaks(
    tmp_path: Path,
) -> None:
    log = RunLog.create(tmp_path)
    log.close(final=False)
    with RunLog.resume(log.path) as other, warned("what comes after the end of the run is left"):
        log.train(1, 0.0, {})
        log.val(1, 0.0, {})
        log.update_config({"lr": 1})
        assert not log.reopen()
    assert kinds_of(other.path) == ["config", "end", "config", "end"]
    assert [record.get("attempt") for record in records_of(other.path)[::2]] == [1, 2]
    log.train(1, 0.0, {})
    log.close()
    assert log.attempt == 2  # what the other process made it


def test_a_run_whose_file_has_gone_meanwhile_breaks_no_training(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path)
    log.close(final=False)
    log.path.unlink()
    with warned("what comes after the end of the run is left out"):
        log.train(1, 0.0, {})


def test_threads_that_go_on_with_a_run_at_once_reopen_it_once(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path)
    log.close(final=False)
    start = threading.Barrier(8)

    def write(step: int) -> None:
        start.wait()
        log.train(step, 0.0, {})

    threads = [threading.Thread(target=write, args=(step,)) for step in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert kinds_of(log.path) == ["config", "end", "config", *["train"] * 8, "end"]


def test_no_record_is_lost_where_a_stage_ends_as_soon_as_the_run_has_gone_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = RunLog.create(tmp_path)
    log.close(final=False)
    reopen, once = log.reopen, [1]

    def and_another_thread_ends_a_stage() -> bool:
        done = reopen()
        if once:
            once.pop()
            log.close(final=False)
        return done

    monkeypatch.setattr(log, "reopen", and_another_thread_ends_a_stage)
    log.train(1, 0.0, {})
    log.close()
    assert kinds_of(log.path) == ["config", "end", "config", "end", "config", "train", "end"]


def test_a_with_block_ends_the_run_and_no_stage_in_it(tmp_path: Path) -> None:
    with RunLog.create(tmp_path) as log:
        log.close(final=False)
        log.train(1, 0.0, {})
        log.close(final=False)
    assert kinds_of(log.path) == ["config", "train", "end"]


def test_one_thread_at_a_time_syncs_a_run_however_often_it_goes_on(tmp_path: Path) -> None:
    before = set(threading.enumerate())  # other tests leave runs behind that nobody closed
    log = RunLog.create(tmp_path)
    for step in range(3):
        log.close(final=False)
        log.train(step, 0.0, {})
    assert [one.name for one in set(threading.enumerate()) - before] == ["runlog-sync"]
    log.close()
    assert set(threading.enumerate()) <= before


@pytest.mark.process
@pytest.mark.parametrize(
    ("code", "status", "exit_code"),
    [
        ("", "finished", 0),
        ("sys.exit(3)", "failed", 3),
        ("sys.exit('no')", "failed", 1),
        ("1 / 0", "failed", 1),
        ("raise KeyboardInterrupt", "interrupted", 130),
        ("try: sys.exit(3)\nexcept SystemExit: log.end_at_exit()", "finished", 0),
        (
            "import threading\nt = threading.Thread(target=sys.exit, args=(3,))\n"
            "t.start(); t.join()",
            "finished",
            0,
        ),
        ("log.close('failed', 7)", "failed", 7),
        ("log.close('failed', final=False); log.train(1, 0, {})", "failed", 1),
    ],
)
def test_a_run_can_end_as_its_process_does(
    tmp_path: Path, code: str, status: str, exit_code: int
) -> None:
    run_python(f"log = RunLog.create(sys.argv[1])\nlog.end_at_exit()\n{code}", tmp_path)
    (path,) = tmp_path.glob("*.jsonl")
    end = records_of(path)[-1]
    assert (end.get("status"), end.get("exit_code")) == (status, exit_code)


@pytest.mark.process
def test_a_run_that_was_not_asked_to_ends_with_its_process_as_a_crash(tmp_path: Path) -> None:
    run_python("log = RunLog.create(sys.argv[1])", tmp_path)
    (path,) = tmp_path.glob("*.jsonl")
    assert kinds_of(path) == ["config"]


# A config that grows


def test_a_config_grows_by_what_is_new(tmp_path: Path) -> None:
    with RunLog.create(tmp_path, config={"lr": 1, "seed": 2}, notes="mine") as log:
        log.update_config({"lr": 3, "shape": (1, 2)})
        log.update_config({"shape": [1, 2]})  # which is what was written
        log.update_config({})
        assert log.config == {"lr": 3, "seed": 2, "shape": [1, 2]}
    assert configs_of(log.path) == [
        {"lr": 1, "seed": 2},
        {"lr": 3, "seed": 2, "shape": [1, 2]},
    ]
    first, again, _ = records_of(log.path)
    own = {"created", "config"}
    assert {k: v for k, v in again.items() if k not in own} == {
        k: v for k, v in first.items() if k not in own
    }


def test_a_resumed_run_knows_its_config_and_one_that_goes_on_what_another_wrote(
    tmp_path: Path,
) -> None:
    log = RunLog.create(tmp_path, config={"a": 1})
    log.close(final=False)
    with RunLog.resume(log.path, config={"b": 2}) as other:
        other.update_config({"c": 3})
        assert other.config == {"a": 1, "b": 2, "c": 3}
    log.update_config({"d": 4})
    assert log.config == {"a": 1, "b": 2, "c": 3, "d": 4}
    log.close()


def test_of_too_much_for_a_config_the_longest_is_left_out_and_named(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path, config={"lr": 1})
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"a": deep}
    with warned(
        "left out of the config: deep: nested more than 64 deep; labels: too much for a config"
    ):
        log.update_config({"labels": "x" * MAX_LINE, "layers": 2, "deep": deep})
    log.close()
    assert configs_of(log.path) == [{"lr": 1}, {"lr": 1, "layers": 2}]


class Wordless:
    def __str__(self) -> str:
        raise ValueError("no words")


def test_of_a_value_without_a_text_a_config_says_that_and_not_that_it_is_too_much(
    tmp_path: Path,
) -> None:
    log = RunLog.create(tmp_path, config={"lr": 1})
    with warned("left out of the config: odd: a value can't be written: ValueError('no words')"):
        log.update_config({"odd": Wordless(), "layers": 2})
    with warned("a name that can't be written: "):
        log.update_config({Wordless(): 1, "depth": 3})
    log.close()
    assert configs_of(log.path)[-1] == {"lr": 1, "layers": 2, "depth": 3}
    with pytest.raises(RunLogError, match=r"no words.*leave that out of the config") as refused:
        RunLog.create(tmp_path, config={"odd": Wordless()})
    assert "too much" not in str(refused.value)


@pytest.mark.parametrize(
    "config",
    [Namespace(lr=1, api_key="wandb-word"), Settings(), {"lr": 1, "api_key": SecretPath("word")}],
)
def test_an_object_with_fields_is_a_config_and_its_secrets_are_cut(
    tmp_path: Path, config: Any
) -> None:
    log = RunLog.create(tmp_path, config=config)
    log.update_config({"inner": config, "list": [config], "shown": SecretPath("api_key=word-word")})
    log.update_config(config)
    log.close()
    with RunLog.resume(log.path, config=config):
        pass
    cut = {"lr": 1, "api_key": "***"}
    grown = cut | {"inner": cut, "list": [cut], "shown": "api_key=***"}
    assert configs_of(log.path) == [cut, grown, grown]


@pytest.mark.parametrize("config", ["config.yaml", 3, dict])
def test_what_has_no_names_is_no_config(tmp_path: Path, config: Any) -> None:
    with pytest.raises(RunLogError, match="has none, and nothing was written"):
        RunLog.create(tmp_path / "logs", config=config)
    assert not (tmp_path / "logs").exists()


def test_a_config_in_a_circle_is_refused_and_left_out_of_one_that_is_there(tmp_path: Path) -> None:
    circle: dict[str, Any] = {}
    circle["inner"] = [circle]
    with pytest.raises(RunLogError, match="can't be written: nested more than 64 deep"):
        RunLog.create(tmp_path / "logs", config=circle)
    with (
        RunLog.create(tmp_path) as log,
        warned("left out of the config: inner: nested more than 64 deep"),
    ):
        log.update_config(circle | {"lr": 1})
    assert configs_of(log.path) == [{}, {"lr": 1}]


def test_what_is_set_in_a_runs_config_is_written(tmp_path: Path) -> None:
    with RunLog.create(tmp_path, config={"lr": 1}) as log:
        log.config["seed"] = 2
        config = log.config
        config.update(Namespace(a=1), b=2)
        assert config.setdefault("lr", 5) == 1
        assert config.setdefault("c", 3) == 3
        assert config == log.config == {"lr": 1, "seed": 2, "a": 1, "b": 2, "c": 3}
    assert configs_of(log.path)[-1] == log.config


# wandb's way to log


def test_a_step_may_be_a_counting_tensor_and_one_that_is_none_costs_its_record_alone(
    tmp_path: Path,
) -> None:
    step = np.zeros((), dtype=np.int64)
    with RunLog.create(tmp_path) as log:
        log.log({"loss": 1.0}, step=step)
        step += 5  # in place
        log.log({"loss": 1.0})
        for wrong in ("first", float("nan"), object()):
            with pytest.raises(RunLogError, match="a step is a whole number"):
                log.log({"loss": 1.0}, step=wrong)
        log.log({"loss": 1.0})
    assert [record["step"] for record in records_of(log.path)[1:-1]] == [0, 1, 2]


def test_a_step_that_is_not_committed_is_the_next_records_too(tmp_path: Path) -> None:
    with RunLog.create(tmp_path) as log:
        log.log({"loss": 1.0}, commit=False)
        log.log({"acc": 1.0})
        log.log({"loss": 1.0}, commit=True)
        log.log({"loss": 1.0}, step=7, commit=False)
        log.log({"acc": 1.0})
    assert [record["step"] for record in records_of(log.path)[1:-1]] == [0, 0, 1, 7, 7]


def test_metrics_without_a_step_are_one_step_further(tmp_path: Path) -> None:
    with RunLog.create(tmp_path) as log:
        log.log({"loss": 1.0})
        log.log({"loss": 1.0, "epoch": 2}, step=5)
        log.log({"val_loss": 1.0, "val/acc": 1.0})
        log.log({"val_loss": 1.0, "loss": 1.0})
    found = [
        (record["type"], record["step"], record.get("epoch"))
        for record in records_of(log.path)[1:-1]
    ]
    assert found == [("train", 0, None), ("train", 5, 2), ("val", 6, None), ("train", 7, None)]


def test_a_metric_called_step_is_written_beside_the_step(tmp_path: Path) -> None:
    told = ("'step' is written as 'train/step'", "'type' is written as 'train/type'")
    with RunLog.create(tmp_path) as log, warned(*told):
        log.log({"step": 9.5, "type": 3})
        log.log({"type": 3})
    first, second = records_of(log.path)[1:-1]
    assert (first["step"], first["train/step"], first["train/type"]) == (0, 9.5, 3)
    assert (second["type"], second["train/type"]) == ("train", 3)


@pytest.mark.parametrize(
    ("code", "status"), [(0, "finished"), (130, "interrupted"), (2, "failed"), (-9, "failed")]
)
def test_an_exit_code_says_how_the_run_ended(tmp_path: Path, code: int, status: str) -> None:
    log = RunLog.create(tmp_path)
    log.finish(code)
    end = records_of(log.path)[-1]
    assert (end["status"], end["exit_code"]) == (status, code)


@pytest.mark.process
def test_a_forked_child_is_refused_before_it_could_wait_for_a_thread_of_its_parent(
    tmp_path: Path,
) -> None:
    code = """
import threading
log = RunLog.create(sys.argv[1])
log._mutex.acquire()  # as another thread of the parent would
child = threading.Thread(target=lambda: None)
if os.fork() == 0:
    def refused(call):
        try: call()
        except RunLogError: return
        os._exit(1)
    def all_calls():
        for call in (lambda: log.log({}), lambda: log.update_config({"a": 1}), log.reopen):
            refused(call)
        log.close(); log.close(final=False)
        os._exit(0)
    threading.Thread(target=all_calls).start()  # so that the lock is not its own
    time.sleep(20)
    os._exit(2)
_, status = os.wait()
log._mutex.release()
print(os.waitstatus_to_exitcode(status))
"""
    assert run_python(code, tmp_path)[1].strip() == "0"


def test_a_living_writer_is_still_named_when_a_run_is_resumed(tmp_path: Path) -> None:
    log = RunLog.create(tmp_path)
    log.close(final=False)
    log.train(1, 0.0, {})
    with pytest.raises(LogBusy):
        RunLog.resume(log.path)
    log.close()

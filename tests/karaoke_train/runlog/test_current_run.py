"""wandb's three calls, for who changes one import."""

from __future__ import annotations

import copy
import pickle
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import karaoke_train
from karaoke_train.runlog import RunLog, RunLogError, current_run
from karaoke_train.runlog.parts import LogBusy
from tests.karaoke_train.runlog.files import records_of, run_python, warned


@pytest.fixture(autouse=True)
def no_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(current_run, "_run", None)
    yield
    karaoke_train.finish()


def test_three_calls_make_a_run(tmp_path: Path) -> None:
    run = karaoke_train.init(
        project="songs", name="take", config={"lr": 1}, dir=tmp_path, tags=["a"], group="g"
    )
    karaoke_train.log({"loss": 2.0})
    karaoke_train.log({"loss": 1.0}, step=10)
    karaoke_train.finish()
    config, first, second, end = records_of(run.path)
    assert (config["project"], config["run_name"], config["config"]) == ("songs", "take", {"lr": 1})
    assert (config["tags"], config["group"], config["upload"]) == (["a"], "g", True)
    assert (first["step"], first["loss"], second["step"]) == (0, 2.0, 10)
    assert (end["status"], end["exit_code"]) == ("finished", 0)


def test_an_exit_code_is_the_runs(tmp_path: Path) -> None:
    run = karaoke_train.init(dir=tmp_path)
    karaoke_train.finish(2)
    end = records_of(run.path)[-1]
    assert (end["status"], end["exit_code"]) == ("failed", 2)


@pytest.mark.parametrize("started", [False, True], ids=["before init", "after finish"])
def test_logging_to_no_run_is_refused_in_words(tmp_path: Path, started: bool) -> None:
    if started:
        karaoke_train.init(dir=tmp_path)
        karaoke_train.finish()
    with pytest.raises(RunLogError, match=r"call init\(\) first"):
        karaoke_train.log({"loss": 1.0})
    karaoke_train.finish()


def test_a_second_init_goes_on_with_the_run_and_says_so(tmp_path: Path) -> None:
    run = karaoke_train.init(dir=tmp_path, config={"a": 1})
    with warned("goes on: end it with finish()"):
        assert karaoke_train.init(dir=tmp_path, config={"b": 2}) is run
    assert run.config == {"a": 1, "b": 2}
    karaoke_train.finish()
    assert karaoke_train.init(dir=tmp_path) is not run


FORKS = """
import os, sys, karaoke_train
karaoke_train.init(dir=sys.argv[1], name="parent")
child = os.fork()
if child == 0:
    karaoke_train.init(dir=sys.argv[1], name="child")
    karaoke_train.log({"loss": 1.0})
    karaoke_train.finish()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
karaoke_train.log({"loss": 2.0})
"""


@pytest.mark.process
@pytest.mark.parametrize("run_id", ["", "job7"])
def test_a_forked_child_may_start_a_run_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_id: str
) -> None:
    """Also where the environment names the parent's: a worker's is another run."""
    monkeypatch.setenv("WANDB_RUN_ID", run_id)
    monkeypatch.setenv("WANDB_RESUME", "must" if run_id else "")
    begin = FORKS.replace('name="parent"', 'name="parent", resume="allow"')
    code, _, err = run_python(begin, tmp_path)
    assert code == 0, err
    assert ("gets an id of its own" in err) is bool(run_id)
    found = {}
    for path in tmp_path.glob("*.jsonl"):
        config, record, end = records_of(path)
        found[config["run_name"]] = (record["loss"], end["status"])
    assert found == {"parent": (2.0, "finished"), "child": (1.0, "finished")}


def test_a_run_that_another_process_writes_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a worker that is started anew, not forked, and inherits the variable."""
    monkeypatch.setenv("WANDB_RUN_ID", "job7")
    with RunLog.create(tmp_path, run_id="job7"), pytest.raises(LogBusy) as error:
        karaoke_train.init(dir=tmp_path)
    assert "give init an id, or take the variable out" in " ".join(error.value.__notes__)


def test_a_namespace_is_a_config_and_what_is_for_uploads_is_named(tmp_path: Path) -> None:
    with warned("init takes no entity, settings"):
        run = karaoke_train.init(
            dir=tmp_path, config=Namespace(lr=1), mode="disabled", entity="me", settings=None
        )
    assert run.config == {"lr": 1}
    assert records_of(run.path)[0]["upload"] is False


def test_offline_is_uploaded_later_as_by_the_trainings_flag(tmp_path: Path) -> None:
    run = karaoke_train.init(dir=tmp_path, mode="offline")
    assert records_of(run.path)[0]["upload"] is True


WANDBS = {
    "WANDB_PROJECT": "songs",
    "WANDB_NAME": "take",
    "WANDB_RUN_ID": "job7",
    "WANDB_RESUME": "allow",
    "WANDB_TAGS": "a, b,",
    "WANDB_RUN_GROUP": "g",
    "WANDB_JOB_TYPE": "tune",
    "WANDB_NOTES": "n",
    "WANDB_MODE": "disabled",
}


def test_what_is_not_given_is_taken_from_wandbs_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in WANDBS.items():
        monkeypatch.setenv(name, value)
    run = karaoke_train.init(dir=tmp_path)
    karaoke_train.finish()
    again = karaoke_train.init(dir=tmp_path)  # requeued, with the same id
    assert again.path == run.path
    header = records_of(run.path)[0]
    assert (header["project"], header["run_name"], header["run_id"]) == ("songs", "take", "job7")
    assert (header["tags"], header["group"], header["job_type"]) == (["a", "b"], "g", "tune")
    assert (header["notes"], header["upload"]) == ("n", False)


@pytest.mark.parametrize(
    ("name", "value"), [("WANDB_RESUME", "auto"), ("WANDB_RESUME", "yes"), ("WANDB_RUN_ID", "a b")]
)
def test_a_variable_that_keeps_a_run_from_being_started_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(RunLogError) as caught:
        karaoke_train.init(dir=tmp_path)
    assert caught.value.__notes__ == [f"The environment has {name}={value}"]
    given = {"id": "a b"} if name == "WANDB_RUN_ID" else {"resume": "must"}
    with pytest.raises(RunLogError) as caught:
        karaoke_train.init(dir=tmp_path, **given)  # type: ignore[arg-type]
    assert not hasattr(caught.value, "__notes__")


def test_what_is_given_comes_before_wandbs_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in WANDBS.items():
        monkeypatch.setenv(name, value)
    run = karaoke_train.init(
        dir=tmp_path, project="p", name="n", id="i", resume="never", tags=[], mode="online"
    )
    header = records_of(run.path)[0]
    assert (header["project"], header["run_name"], header["run_id"]) == ("p", "n", "i")
    assert (header.get("tags", []), header["upload"]) == ([], True)


@pytest.mark.parametrize(
    ("name", "words"),
    [("id", "run_id"), ("name", "run_name"), ("summary", "config, log and finish")],
)
def test_what_wandbs_run_has_is_asked_for_and_the_way_here_is_told(
    tmp_path: Path, name: str, words: str
) -> None:
    with pytest.raises(AttributeError, match=words):
        getattr(karaoke_train.init(dir=tmp_path), name)


def test_a_run_id_goes_on_as_with_wandb(tmp_path: Path) -> None:
    run = karaoke_train.init(dir=tmp_path, id="mine")
    karaoke_train.finish()
    with karaoke_train.init(dir=tmp_path, id="mine", resume="must") as again:
        assert again.path == run.path
        karaoke_train.log({"loss": 1.0})
    with pytest.raises(RunLogError, match=r"call init\(\) first"):
        karaoke_train.log({"loss": 1.0})


@pytest.mark.process
def test_a_program_without_finish_ends_its_run_as_it_ends_itself(tmp_path: Path) -> None:
    for name, rest, status in (
        ("well", "", "finished"),
        ("broken", "1 / 0", "failed"),
        ("told", "sys.exit(2)", "failed"),
    ):
        code = "import karaoke_train as wandb\nwandb.init(dir=sys.argv[1])\nwandb.log({'x': 1})\n"
        run_python(code + rest, tmp_path / name)
        (path,) = (tmp_path / name).glob("*.jsonl")
        assert [r.get("status") for r in records_of(path)] == [None, None, status]


def test_an_attribute_of_the_config_is_read_and_written_as_an_item(tmp_path: Path) -> None:
    run = karaoke_train.init(dir=tmp_path, config={"lr": 1})
    run.config.lr += 1
    run.config.update_every = 3
    config = run.config
    config |= {"c": 4}
    assert (config.lr, config["update_every"], config.c) == (2, 3, 4)
    assert records_of(run.path)[-1]["config"] == {"lr": 2, "update_every": 3, "c": 4}
    assert copy.deepcopy(dict(config)) == config
    with pytest.raises(AttributeError, match="config has no 'epochs'"):
        config.epochs  # noqa: B018


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda config: pickle.loads(pickle.dumps(config))]
)
def test_a_copy_of_the_config_is_a_dictionary_that_writes_nothing(
    copied: Callable[[Any], Any], tmp_path: Path
) -> None:
    """Checkpoints hold it, and Lightning's `save_hyperparameters` copies it."""
    run = karaoke_train.init(config={"lr": 1, "layers": [2]}, dir=tmp_path)
    mine = copied(run.config)
    assert type(mine) is dict
    assert mine == {"lr": 1, "layers": [2]}
    mine["lr"] = 2
    assert run.config["lr"] == 1


def test_another_name_of_wandb_is_refused_with_what_there_is_instead() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'Image'.*run\.config, run\.media"):
        karaoke_train.Image  # type: ignore[attr-defined] # noqa: B018
    assert not hasattr(karaoke_train, "config")

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from karaoke_train import cli
from karaoke_train.cli import common, train, transcribe
from karaoke_train.settings import LogSettings, TrainSettings
from karaoke_train.training import local_dashboard
from tests.karaoke_train.checkpoint_files import touch_checkpoint
from tests.karaoke_train.conftest import PROGRAM

# fmt: off
FLAGS = [
    "--fast_dev", "--offline", "--no_wandb", "--sync_logs", "--wandb_project", "--run_name",
    "--log_dir", "--voices_dir", "--notes_dir", "--batch_size", "--lr", "--weight_decay",
    "--encoder_lr",
    "--grad_accum_steps", "--epochs", "--patience", "--max_samples", "--cache_features",
    "--checkpoint_dir", "--seed", "--resume", "--device", "--encoder", "--freeze_encoder",
    "--unfreeze_layers", "--synthetic", "--sync_timeout", "--wandb_tags", "--wandb_group",
    "--wandb_job_type", "--wandb_notes", "--no_system_metrics", "--local", "--no_open",
]
# fmt: on
COMMANDS = [[], ["train"], ["data"], ["data", "check"], ["evaluate"], ["transcribe"]]
COMMANDS += [["completion"]]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # so that the command line's is undone
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def asked(*words: str) -> dict[str, Any]:
    """All flags of a new run, as training gets them."""
    return train.complete(flags(*words))


def flags(*words: str) -> dict[str, Any]:
    """The flags that stand on the command line, by the settings' names."""
    with cli.cli.make_context("karaoke-train", list(words)) as context:
        return train.given_flags(context)


def test_tags_are_separated_by_commas() -> None:
    words = ("--wandb_tags", "a, b,,c", "--wandb_group=g", "--wandb-notes", "n")
    logs = train.as_settings(asked(*words))[1]
    assert logs.labels == {"tags": ["a", "b", "c"], "group": "g", "job_type": "", "notes": "n"}


@pytest.mark.parametrize("flag", FLAGS)
def test_every_promised_flag_has_help(flag: str) -> None:
    options = [param for param in cli.cli.params if isinstance(param, click.Option)]
    assert next(param for param in options if flag in param.opts).help


def test_help_names_the_other_commands_examples_and_exit_codes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for word in ("data", "evaluate", "transcribe", "Exit codes", "130", "karaoke-train --fast"):
        assert word in text


@pytest.mark.parametrize("help_flag", ["-h", "--help"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_has_help_with_examples_and_exit_codes(
    command: list[str], help_flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*command, help_flag]) == 0
    said = capsys.readouterr().out
    assert "Examples:" in said
    assert "Exit codes:" in said


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    version = importlib.metadata.version("karaoke-train")
    assert capsys.readouterr().out == f"karaoke-train {version}\n"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--epochs", "0"], "is not a whole number from 1"),
        (["--lr", "fast"], "is not a number over 0"),
        (["--lr", "inf"], "is not a number over 0"),
        (["--weight_decay", "nan"], "is not a number from 0"),
        (["--weight_decay", "-1"], "is not a number from 0"),
        (["--seed", "4294967296"], "is not a whole number from 0 to 4294967295"),
        (["--longest", "31"], "from 1 to 30"),
        (["--workers", "-1"], "'-1' is not a whole number from 0"),
        (["--epoch", "3"], "No such option '--epoch'. Did you mean '--epochs'?"),
        (["evalute"], "No such command 'evalute'. Did you mean 'evaluate'?"),
        (["data", "chek"], "No such command 'chek'. Did you mean 'check'?"),
        (["--synthetic", "3", "--voices_dir", "x"], "two kinds of data"),
        (["--notes_dir", "x"], "needs --voices_dir"),
        (["--corpus", "csd", "--synthetic", "3"], "--corpus needs --voices_dir"),
        (["--init", "small", "--adapter_width", "8"], "is for a pretrained Whisper, by --encoder"),
        (["--fast_dev", "--adapter_width", "8"], "is for a pretrained Whisper, by --encoder"),
        (["--pseudo_label", "x"], "--pseudo_label needs songs with notes beside it"),
        (["evaluate", "songs", "--voices", "amateur"], "--voices needs --synthetic"),
        (["evaluate", "--synthetic", "3", "--notes_dir", "x"], "--notes_dir needs a folder"),
        (["transcribe", "a.wav", "--formats", ","], "no format: choose of mid, csv"),
        (
            ["--encoder", "x", "--from_scratch", "dev"],
            "--encoder and --from_scratch are two models",
        ),
        (
            ["--init", "small", "--from_scratch", "dev"],
            "--init and --from_scratch are two models to start from",
        ),
        (["--epochs", "3", "evaluate"], "--epochs stands before evaluate: put it behind"),
        (["evaluate", "--checkpoint", "x"], "give a folder of recordings"),
        (["transcribe", "--checkpoint", "x", "a.wav", "--formats", "pdf"], "unknown format pdf"),
        (["evaluate", "--c", "x"], "--c could be --checkpoint or --corpus"),
    ],
)
def test_wrong_usage_is_said_in_words(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    assert why in capsys.readouterr().err


def test_a_closed_standard_error_leads_nowhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert cli.main(["--lr", "nan"]) == 2
    with sys.stderr:
        assert not sys.stderr.isatty()
    assert capsys.readouterr().out == ""


def test_a_flag_is_the_same_with_dashes_and_with_underscores() -> None:
    dashes = flags("--log-dir", "a", "--from-scratch=dev", "--fast-dev", "--run-name=x-y z")
    assert dashes == flags("--log_dir", "a", "--from_scratch=dev", "--fast_dev", "--run_name=x-y z")


def test_help_shows_the_name_with_underscores_alone(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["-h"])
    said = capsys.readouterr().out
    assert "--log_dir" in said
    assert "--log-dir" not in said


@pytest.mark.parametrize(
    "words", [["--run_name", "--offline"], ["train", "--log-dir", "--offline"]]
)
def test_a_forgotten_value_does_not_swallow_the_next_flag(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    assert "requires an argument" in capsys.readouterr().err


def test_values_may_look_like_negative_numbers_and_sentences() -> None:
    given = flags("--wandb_notes", "-0.5", "--run_name", "- a name")
    assert given == {"wandb_notes": "-0.5", "run_name": "- a name"}


def test_flags_with_an_optional_value_take_the_next_word_unless_it_is_a_flag() -> None:
    assert flags("--resume") == {"resume": train.NEWEST}
    assert flags("--resume", "--offline") == {"resume": train.NEWEST, "offline": True}
    assert flags("--resume", "runs/a") == {"resume": "runs/a"}
    assert flags("--cache_features") == {"cache_features": ".cache/karaoke-train"}
    assert flags("--cache_features", "x") == {"cache_features": "x"}


@pytest.mark.torch
def test_other_commands_flags_may_be_cut_short_and_trainings_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["transcribe", "--check", str(tmp_path), "a.wav"]) == 1
    assert "holds no model" in capsys.readouterr().err
    assert cli.main(["train", "--checkpoint", "x"]) == 2
    assert "No such option '--checkpoint'" in capsys.readouterr().err


def test_the_train_command_is_what_happens_without_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(common, "NEEDED", ("no_such_torch",))
    said = []
    for words in (["--seed", "3"], ["train", "--seed", "3"]):
        assert cli.main(words) == 1
        said.append(capsys.readouterr())
    assert said[0] == said[1]
    assert [p.opts for p in train.train.params] == [p.opts for p in train.TRAIN_FLAGS]


def test_defaults_are_those_of_the_settings() -> None:
    settings, logs = train.as_settings(asked())
    assert (settings, logs) == (TrainSettings(), LogSettings())


def test_fast_dev_sets_what_was_not_given() -> None:
    found = asked("--fast_dev", "--epochs", "3")
    wanted = {"from_scratch": "dev", "synthetic": 16, "epochs": 3, "lr": 2e-3}
    assert found | wanted == found


def test_fast_dev_around_another_model_is_not_from_scratch() -> None:
    for start, rate in (("--encoder", 1e-3), ("--init", 1e-4)):
        found = asked("--fast_dev", start, "x")
        assert (found["from_scratch"], found["lr"], found["synthetic"]) == (None, rate, 16)


@pytest.mark.torch
def test_a_recording_whose_notes_can_not_have_their_names_is_said_before_any_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(transcribe, "load_model", lambda *_: None)
    name = "x" * (os.pathconf(tmp_path, "PC_NAME_MAX") - 4)  # .csv fits, .json does not
    words = [f"{name}.wav", "--out", str(tmp_path / "notes"), "--formats", "csv,json"]
    assert cli.main(["transcribe", *words]) == 1
    wrong = capsys.readouterr().err
    assert "not transcribed: " in wrong
    assert f"its name has {len(name) + 5} bytes" in wrong
    assert list(tmp_path.iterdir()) == []


@pytest.mark.torch
def test_an_out_folder_that_takes_no_files_is_said_before_the_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded: list[object] = []
    monkeypatch.setattr(transcribe, "load_model", lambda *how: loaded.append(how))
    assert cli.main(["transcribe", "song.wav", "--out", "/proc/x"]) == 1
    assert "--out /proc/x can't be written (" in capsys.readouterr().err
    assert loaded == []


@pytest.mark.torch
def test_of_two_recordings_of_one_name_the_second_does_not_take_the_firsts_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(transcribe, "load_model", lambda *_: None)
    monkeypatch.setattr(transcribe, "_write_notes", lambda *_, **__: "3 notes")
    words = ["a/x.wav", "b/x.wav", "b/y.wav", "--out", str(tmp_path), "--formats", "CSV,csv"]
    assert cli.main(["transcribe", "--overwrite", *words]) == 1
    said, wrong = capsys.readouterr()
    assert said == (
        f"a/x.wav: 3 notes; written to {tmp_path}/x.csv\n"
        f"b/y.wav: 3 notes; written to {tmp_path}/y.csv\n"
    )
    assert f"b/x.wav: {tmp_path}/x.csv would be those of a/x.wav, which has the same name" in wrong


def test_a_models_name_is_saved_as_it_is_and_its_folder_as_a_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for flag in ("init", "encoder"):
        assert train.to_save(asked(f"--{flag}", "small"))[flag] == "small"
        assert train.to_save(asked(f"--{flag}", "mine"))[flag] == str(tmp_path / "mine")


def test_fast_dev_on_own_recordings_uses_them() -> None:
    found = asked("--fast_dev", "--voices_dir", "songs")
    wanted = {"synthetic": None, "voices_dir": "songs", "notes_dir": None}
    assert found | wanted == found


def test_learning_rate_depends_on_the_encoder() -> None:
    def rates(*words: str) -> tuple[float, float]:
        settings, _ = train.as_settings(asked(*words))
        return settings.lr, settings.encoder_rate

    assert rates() == (1e-3, 1e-4)
    assert rates("--lr", "1e-4") == (1e-4, 1e-4)
    assert rates("--encoder", "x", "--encoder_lr", "1e-5") == (1e-3, 1e-5)
    assert rates("--init", "small") == (1e-4, 1e-4)
    assert rates("--from_scratch", "small") == (2e-3, 2e-3)
    assert rates("--from_scratch", "small", "--lr", "1e-3") == (1e-3, 1e-3)


def test_recordings_are_augmented_unless_told_otherwise() -> None:
    assert asked()["augment"] is True
    assert asked("--no_augment")["augment"] is False


def checkpoint(folder: Path, flags: dict[str, Any], epoch: float = 1.0) -> Path:
    """What a run of any version leaves for --resume."""
    place = folder / "run" / "checkpoint-1"
    place.mkdir(parents=True)
    touch_checkpoint(place)
    content = {"log": str(folder / "log.jsonl"), "flags": flags}
    (place / "karaoke_run.json").write_text(json.dumps(content))
    (place / "trainer_state.json").write_text(json.dumps({"epoch": epoch}))
    return folder


def test_a_resumed_run_keeps_its_flags_and_those_given_now_win(tmp_path: Path) -> None:
    started = asked("--synthetic", "9", "--no_augment", "--longest", "7", "--offline",
                    "--log_dir", str(tmp_path))  # fmt: skip
    place = checkpoint(tmp_path, train.to_save(started))
    found, resumable = train.with_saved(flags("--resume", "--epochs", "40"), place)
    saved = train.to_save(started)
    assert train.to_save(found) | {"resume": ""} == saved | {"epochs": 40, "resume": ""}
    assert resumable.log_path == tmp_path / "log.jsonl"
    assert (resumable.epochs, resumable.step) == (1.0, None)  # this checkpoint doesn't say


@pytest.mark.parametrize(
    "words",
    [["--freeze_encoder"], ["--init", "small"], ["--from_scratch", "small"],
     ["--unfreeze_layers", "1"], ["--adapter_width", "8"]],
)  # fmt: skip
def test_a_run_is_not_resumed_as_another_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    place = checkpoint(tmp_path, train.to_save(asked("--fast_dev")))
    assert cli.main(["--resume", str(place), *words]) == 2
    said = capsys.readouterr().err
    assert f"goes on with the model that the run has, and {words[0]} makes another one" in said
    assert not (tmp_path / "log.jsonl").exists()
    same = flags("--resume", str(place), "--from_scratch", "dev")
    assert train.with_saved(same, place)[0]["from_scratch"] == "dev"


def test_recordings_that_moved_are_found_by_the_folder_that_is_given_now(tmp_path: Path) -> None:
    def resumed(started: dict[str, Any], *words: str) -> tuple[object, ...]:
        place = checkpoint(tmp_path / str(len(list(tmp_path.iterdir()))), train.to_save(started))
        found, _ = train.with_saved(flags("--resume", *words), place)
        return tuple(found[name] for name in ("voices_dir", "notes_dir", "synthetic"))

    moved = ("--voices_dir", "b")
    assert resumed(asked("--voices_dir", "a"), *moved) == ("b", None, None)
    before = asked("--voices_dir", "a") | {"notes_dir": "a"}  # as 0.1.0 saved it
    assert resumed(before, *moved) == ("b", None, None)
    apart = asked("--voices_dir", "a", "--notes_dir", "n")
    assert resumed(apart, *moved) == ("b", str(Path("n").resolve()), None)
    assert resumed(asked("--fast_dev"), *moved) == ("b", None, None)
    assert resumed(asked("--voices_dir", "a"), "--synthetic", "9") == (None, None, 9)
    with pytest.raises(click.UsageError, match="two kinds of data"):
        resumed(asked("--fast_dev"), *moved, "--synthetic", "9")


def test_a_resumed_run_is_on_its_own_device_and_looks_at_its_own_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA_VISIBLE_DEVICES and HF_HUB_OFFLINE are read once, when torch and transformers are
    imported: what the run was started with has to be known before."""
    place = checkpoint(tmp_path, train.to_save(asked("--device", "cuda:1", "--offline")))
    before: list[tuple[str, bool]] = []

    def last(device: str, *, offline: bool) -> None:
        before.append((device, offline))
        raise common.NotInstalled("torch would be imported now")

    monkeypatch.setattr(train, "before_torch", last)
    monkeypatch.setattr(common, "NEEDED", ())
    dashboards: list[Path] = []
    monkeypatch.setattr(local_dashboard, "problem", dashboards.append)
    assert cli.main(["--resume", str(place), "--local", "--log_dir", "elsewhere"]) == 1
    assert before == [("cuda:1", True)]
    assert dashboards == [tmp_path]


def test_a_dashboard_is_for_who_asks_for_it_now_and_not_resumed(tmp_path: Path) -> None:
    place = checkpoint(tmp_path, train.to_save(asked("--local", "--no_open")))
    found, _ = train.with_saved({}, place)
    assert (found["local"], found["no_open"]) == (False, False)
    assert train.with_saved(flags("--local"), place)[0]["local"]


def test_a_dashboard_that_there_can_not_be_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    what = "trackio is not installed: pip install 'karaoke-train[local]'"
    monkeypatch.setattr(common, "NEEDED", ())
    monkeypatch.setattr(local_dashboard, "problem", lambda log_dir: what)
    assert cli.main(["--fast_dev", "--local"]) == 2
    assert f"--local: {what}" in capsys.readouterr().err
    assert cli.main(["--fast_dev", "--no_open"]) == 2
    assert "--no_open needs --local" in capsys.readouterr().err


def test_rank_0_alone_asks_for_a_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for: list[Path] = []
    monkeypatch.setattr(local_dashboard, "problem", asked_for.append)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        train.check_dashboard(asked("--local"))
    assert asked_for == [Path("logs")]


def test_flags_that_older_versions_saved_resume_under_their_new_names(tmp_path: Path) -> None:
    old = {"scratch": "small", "longest": 12.5, "synthetic": 600, "lr": 2e-3, "gone": 1}
    found, _ = train.with_saved({}, checkpoint(tmp_path, old))
    settings, _ = train.as_settings(found)
    assert (settings.from_scratch, settings.max_segment_seconds) == ("small", 12.5)
    assert (settings.synthetic, settings.lr) == (600, 2e-3)


@pytest.mark.torch
def test_a_run_that_had_all_its_epochs_is_not_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = checkpoint(tmp_path, train.to_save(asked("--epochs", "3")), epoch=3.0)
    assert cli.main(["--resume", str(place)]) == 1
    assert "has had its 3 epochs. Give --resume with more --epochs" in capsys.readouterr().err


def test_base_install_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(common, "NEEDED", ("no_such_torch",))
    assert cli.main(["--fast_dev"]) == 1
    assert "pip install 'karaoke-train[train]'" in capsys.readouterr().err


@pytest.mark.process
@pytest.mark.parametrize(
    "words",
    [
        ["--epochs", "0"],
        ["transcribe", "--checkpoint", "x"],
        ["evaluate", "--checkpoint", "x"],
        ["data", "check"],
        ["-h"],
    ],
)
def test_arguments_are_read_without_torch(words: list[str]) -> None:
    code = (
        f"import sys; from karaoke_train import cli; cli.main({words!r});"
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'transformers', 'wandb')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.torch
@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "no data to train on"),
        (["--voices_dir", "."], "no usable song"),
        (["--voices_dir", "nowhere"], "there is no folder nowhere"),
        (["--voices_dir", ".", "--corpus", "none"], "no corpus is called 'none'"),
        (["--resume"], "nothing to resume in checkpoints"),
        (
            ["--synthetic", "4", "--encoder", "./none"],
            "there is no folder ./none to take a Whisper",
        ),
        (["--synthetic", "4", "--encoder", "../no/where"], "there is no folder ../no/where"),
        (["--synthetic", "4", "--init", "none"], "none holds no model"),
        (["--synthetic", "4", "--device", "tpu"], "choose auto, cpu, cuda"),
        (["--fast_dev", "--log_dir", "/proc/x"], "--log_dir /proc/x can't be written ("),
        (
            ["--fast_dev", "--checkpoint_dir", "/proc/x"],
            "--checkpoint_dir /proc/x can't be written",
        ),
    ],
)
def test_errors_are_sentences_and_leave_nothing_behind(
    words: list[str],
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    device = [] if "--device" in words else ["--device", "cpu"]
    assert cli.main([*words, "--offline", *device]) == 1
    said = capsys.readouterr().err
    assert said.startswith("karaoke-train: ")
    assert why in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_sync_logs_needs_nothing_of_the_extra_train(tmp_path: Path) -> None:
    absent = dict.fromkeys(common.NEEDED)  # None: not to be found
    words = ["--sync_logs", "--log_dir", str(tmp_path)]
    code = (
        f"import sys; sys.modules.update({absent})\n"
        f"from karaoke_train import cli; cli.main({words})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={"PATH": ""}
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr.split("karaoke-syncd")[0]


@pytest.mark.process
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_one_that_its_shell_reads(shell: str, tmp_path: Path) -> None:
    program = [*PROGRAM, "completion", shell]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert "_KARAOKE_TRAIN_COMPLETE" in done.stdout
    if shutil.which(shell):
        script = tmp_path / "script"
        script.write_text(done.stdout)
        subprocess.run([shell, "-n", str(script)], check=True)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("karaoke-train eval", "evaluate"),
        ("karaoke-train --from", "--from_scratch"),
        ("karaoke-train --from_scratch ", "small"),
        ("karaoke-train --epochs 3 --log-dir x --bat", "--batch_size"),
        ("karaoke-train data check --no", "--notes_dir"),
        ("karaoke-train transcribe --checkpoint c --device c", "cuda"),
    ],
)
def test_a_shell_is_told_how_the_line_may_go_on(
    line: str, wanted: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_KARAOKE_TRAIN_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
    cli.main([])
    assert f"plain,{wanted}" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    "words",
    [
        ["--log_dir", ""],
        ["--voices_dir="],
        ["--resume", ""],
        ["--init", ""],
        ["--cache_features="],
        ["data", "check", ""],
        ["transcribe", ""],
        ["evaluate", "--model", ""],
    ],
)
def test_an_empty_path_is_refused_rather_than_taken_for_the_folder_one_is_in(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    assert "'' is no path; the folder that you are in is '.'" in capsys.readouterr().err


@pytest.mark.parametrize("words", COMMANDS)
def test_brackets_in_a_help_are_around_what_may_be_left_out_alone(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command: click.Command = cli.cli
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    assert cli.main([*words, "--help"]) == 0
    text = capsys.readouterr().out
    for param in command.params:
        if isinstance(param, click.Option) and not param.is_flag:
            optional = getattr(param, "without_value", None) is not None
            assert (f"{param.opts[-1]} [" in text) is optional, param.opts

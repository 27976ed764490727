from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from karaoke_train import cli
from tests.karaoke_train.conftest import PROGRAM

# fmt: off
FLAGS = [
    "--fast_dev", "--offline", "--no_wandb", "--sync_logs", "--wandb_project", "--run_name",
    "--log_dir", "--voices_dir", "--notes_dir", "--batch_size", "--lr", "--weight_decay",
    "--grad_accum_steps", "--epochs", "--patience", "--max_samples", "--cache_features",
    "--checkpoint_dir", "--seed", "--resume", "--device", "--encoder", "--freeze_encoder",
    "--unfreeze_layers", "--synthetic", "--sync_timeout",
]
# fmt: on


@pytest.mark.parametrize("flag", FLAGS)
def test_every_promised_flag_has_help(flag: str) -> None:
    actions = {word: a for a in cli.train_parser()._actions for word in a.option_strings}
    assert actions[flag].help


def test_help_names_the_other_commands_examples_and_exit_codes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    text = capsys.readouterr().out
    for word in (
        "data check",
        "evaluate",
        "transcribe",
        "exit codes",
        "130",
        "karaoke-train --fast",
    ):
        assert word in text


@pytest.mark.parametrize("command", ["data", "evaluate", "transcribe"])
def test_each_command_has_help_with_exit_codes(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main([command, "--help"])
    assert "exit codes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--epochs", "0"], "is not a whole number from 1"),
        (["--lr", "fast"], "is not a number over 0"),
        (["--longest", "31"], "from 1 to 30"),
        (["--epoch", "3"], "unrecognized arguments"),
        (["--synthetic", "3", "--voices_dir", "x"], "two kinds of data"),
        (["--notes_dir", "x"], "needs --voices_dir"),
        (["evaluate", "--checkpoint", "x"], "give a folder of recordings"),
        (["transcribe", "--checkpoint", "x", "a.wav", "--formats", "pdf"], "unknown format pdf"),
    ],
)
def test_wrong_usage_is_said_in_words(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(words)
    assert why in capsys.readouterr().err


def test_fast_dev_sets_what_was_not_given() -> None:
    args = cli.parse_train(["--fast_dev", "--epochs", "3"])
    assert (args.scratch, args.synthetic, args.epochs, args.lr) == ("dev", 16, 3, 2e-3)


def test_fast_dev_on_own_recordings_uses_them() -> None:
    args = cli.parse_train(["--fast_dev", "--voices_dir", "songs"])
    assert (args.synthetic, args.voices_dir, args.notes_dir) == (None, "songs", "songs")


def test_learning_rate_depends_on_the_encoder() -> None:
    assert cli.parse_train([]).lr == 1e-4
    assert cli.parse_train(["--from_scratch", "small"]).lr == 2e-3


def test_base_install_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "NEEDED", ("no_such_torch",))
    assert cli.main(["--fast_dev"]) == 1
    assert "pip install 'karaoke-train[train]'" in capsys.readouterr().err


def test_arguments_are_read_without_torch() -> None:
    code = (
        "import sys; from karaoke_train import cli; cli.parse_train(['--fast_dev']);"
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'transformers', 'wandb')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "no data to train on"),
        (["--voices_dir", "."], "no usable song"),
        (["--voices_dir", "nowhere"], "there is no folder nowhere"),
        (["--voices_dir", ".", "--corpus", "none"], "no corpus is called 'none'"),
        (["--resume"], "nothing to resume in checkpoints"),
        (["--synthetic", "4", "--encoder", "./none"], "--encoder PATH"),
        (["--synthetic", "4", "--device", "tpu"], "choose auto, cpu, cuda"),
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
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    device = [] if "--device" in words else ["--device", "cpu"]
    assert cli.main([*words, "--offline", *device]) == 1
    said = capsys.readouterr().err
    assert said.startswith("karaoke-train: ")
    assert why in said
    assert list(tmp_path.iterdir()) == []


def test_sync_logs_needs_no_torch(tmp_path: Path) -> None:
    program = [*PROGRAM, "--sync_logs", "--log_dir", str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, env={"PATH": ""})
    assert "Traceback" not in done.stderr.split("karaoke-syncd")[0]

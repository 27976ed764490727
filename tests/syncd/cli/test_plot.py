"""`plot` as it's called: which runs, which keys, where to."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from syncd.cli import main
from syncd.report import plot
from tests.syncd.world import config_line, end_line, train_line

MARKS = re.compile(r"<use [^>]*>")  # those of the axes are black


@pytest.fixture
def two_runs(home: Path, log: Path) -> Path:
    other = log.with_name("training_log_b.jsonl")
    val = b'{"type":"val","step":3,"val/loss":"NaN","val/f1":0.5}\n'
    other.write_bytes(config_line("run-2") + train_line(2) + train_line(4) + val + end_line())
    os.utime(log, (1, 1))
    return home


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


@pytest.mark.usefixtures("two_runs")
def test_without_a_name_it_is_the_newest_runs_losses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot"]) == 0
    out = said(capsys)
    assert out.startswith("loss   ⣤ train/loss")
    assert "val/loss was NaN or infinite once, which is not drawn; first at step 3" in out
    assert "Not drawn: val/f1" in out
    assert "\x1b" not in out  # no terminal, no colours


@pytest.mark.usefixtures("two_runs")
@pytest.mark.parametrize("names", [["run-1", "run-2"], ["name of *"], ["logs/training_log_a.jsonl",
                                   "run-2"]])  # fmt: skip
def test_runs_are_drawn_over_each_other_by_id_name_glob_or_file(
    names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", *names, "--keys", "train/*"]) == 0
    heading = said(capsys).splitlines()[0]
    assert heading == "loss   ⣤ name of run-1: train/loss   + name of run-2: train/loss"


@pytest.mark.usefixtures("two_runs")
def test_a_key_that_nothing_has_names_those_that_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["plot", "--keys", "vall/*"]) == 2
    err = capsys.readouterr().err
    assert "no metric like vall/*" in err
    assert "There are train/loss, val/loss, val/f1" in err


def test_a_folder_without_runs_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot"]) == 2
    assert "there are no runs in" in capsys.readouterr().err


@pytest.mark.usefixtures("two_runs")
@pytest.mark.parametrize(("name", "begins"), [("c.png", b"\x89PNG"), ("c.svg", b"<?xml")])
def test_a_picture_is_written_whole(name: str, begins: bytes, home: Path) -> None:
    pytest.importorskip("matplotlib")
    assert main(["plot", "name of *", "--smoothing", "0.5", "-o", name]) == 0
    assert (home / name).read_bytes().startswith(begins)
    assert [path.name for path in home.glob("*.part")] == []


def test_a_metric_with_one_value_is_seen_in_a_picture(home: Path, log: Path) -> None:
    pytest.importorskip("matplotlib")
    log.write_bytes(config_line() + b'{"type":"val","step":3,"val/loss":1}\n')
    assert main(["plot", "-o", "c.svg"]) == 0
    assert "#1f77b4" in "".join(MARKS.findall((home / "c.svg").read_text("utf-8")))
    log.write_bytes(config_line() + train_line(2) + train_line(4))
    assert main(["plot", "-o", "c.svg"]) == 0
    assert "#1f77b4" not in "".join(MARKS.findall((home / "c.svg").read_text("utf-8")))


@pytest.mark.usefixtures("two_runs")
def test_a_picture_of_another_kind_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", "-o", "c.jpg"]) == 2
    assert "neither .png nor .svg" in capsys.readouterr().err


@pytest.mark.usefixtures("two_runs")
def test_without_matplotlib_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    assert main(["plot", "-o", "c.png"]) == 1
    assert "pip install 'karaoke-train[plot]'" in capsys.readouterr().err


def test_a_name_of_a_page_is_shown_by_its_beginning(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "k" * 50_000
    record = f'{{"type":"val","step":3,"{long}":1,"{long}2":"NaN","{long}3":2}}\n'
    log.write_bytes(config_line() + record.encode())
    assert main(["plot"]) == 0
    assert main(["plot", "--keys", f"{long}3"]) == 0
    assert main(["plot", "--keys", "none"]) == 2
    out, err = capsys.readouterr()
    assert "k" * 100 + "…" in out
    assert "k" * 101 not in out + err


def test_of_any_number_of_metrics_as_many_are_drawn_as_can_be_seen(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plot, "MOST", 3)
    names = ",".join(f'"k{number}":1' for number in range(2_000))
    log.write_bytes(config_line() + f'{{"type":"val","step":3,{names}}}\n'.encode())
    assert main(["plot"]) == 0
    assert main(["plot", "--keys", "k*"]) == 0
    out, err = capsys.readouterr()
    assert out.count("step") == 2 * 3
    assert (out + err).count("1,997 more metrics than the 3 that are drawn") == 2
    assert main(["plot", "--keys", "none"]) == 2
    assert "k0, k1, k2 and 1,997 more" in capsys.readouterr().err

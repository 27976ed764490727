"""The figures in README are those of docs/benchmarks.md, whose rows are those of the code."""

from __future__ import annotations

import pytest

from benchmarks import figures, live, many, record_log, upload

PAGE = figures.PAGE.read_text("utf-8")
README = figures.README.read_text("utf-8")


def test_the_readme_quotes_the_page() -> None:
    assert figures.between(README, "figures") == figures.sentence(PAGE), (
        "python -m benchmarks.figures --full writes both"
    )


def test_another_figure_on_the_page_is_another_sentence() -> None:
    whole = next(row for row in figures.rows(PAGE, "upload") if row["records"] == "20,000")
    other = PAGE.replace(f"| {whole['syncd CPU s']} |", "| 123.45 |")
    assert "takes 123.45 s of CPU" in figures.sentence(other)


def test_each_row_has_the_command_that_makes_it() -> None:
    for name, cases in (("upload", figures.UPLOADS), ("live", figures.LIVE)):
        commands = [row["command"] for row in figures.rows(PAGE, name)]
        assert commands == [f"`{case.command}`" for case in cases]


def test_each_table_of_many_rows_has_the_commands_that_make_it() -> None:
    commands = [row["command"] for row in figures.rows(PAGE, "many")]
    assert list(dict.fromkeys(commands)) == [f"`{case.command}`" for case in figures.MANY]
    made = {row["command"] for row in figures.rows(PAGE, "log")}
    assert made == {f"`{figures.RECORD_LOG.command}`"}


@pytest.mark.torch
def test_the_training_steps_rows_and_columns_are_those_of_the_code() -> None:
    training_step = pytest.importorskip("benchmarks.training_step")  # needs torch
    rows = figures.rows(PAGE, "step")
    assert [row["command"] for row in rows] == [f"`{case.command}`" for case in training_step.CASES]
    assert tuple(rows[0]) == training_step.HEAD


def test_the_columns_are_those_of_the_code() -> None:
    heads = {"upload": upload.HEAD, "live": live.HEAD, "log": record_log.HEAD, "many": many.HEAD}
    for name, head in heads.items():
        assert tuple(figures.rows(PAGE, name)[0]) == head

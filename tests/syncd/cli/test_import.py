"""Other trainers' logs, imported by the command: which records they become, and that twice is once.

Each file here is as the program writes it that is named in the test.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from syncd.cli import main
from syncd.errors import Exit

LIGHTNING = """epoch,step,train_loss,val_loss
0,49,0.5,
0,99,0.25,
0,99,,0.3
"""
STATE = {
    "best_metric": 0.3, "epoch": 1.0, "global_step": 20, "num_train_epochs": 2,
    "log_history": [
        {"epoch": 0.5, "learning_rate": 5e-05, "loss": 1.0, "step": 10},
        {"epoch": 1.0, "eval_loss": 0.3, "eval_runtime": 1.0, "eval_samples_per_second": 4.0,
         "step": 20},
        {"epoch": 1.0, "step": 20, "total_flos": 1.0, "train_loss": 0.7, "train_runtime": 9.0},
    ],
}  # fmt: skip


@pytest.fixture(autouse=True)
def folder(home: Path) -> Path:
    return home


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def logs() -> list[Path]:
    return sorted(Path("logs").glob("training_log_*.jsonl"))


def records(path: Path | None = None) -> list[dict[str, Any]]:
    (path,) = [path] if path else logs()
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def metrics(path: Path | None = None) -> list[dict[str, Any]]:
    return [record for record in records(path) if record["type"] not in ("config", "end")]


def imported(*words: str, code: Exit = Exit.OK) -> None:
    assert main(["import", *words]) == code


# --- tables


def test_a_table_that_is_being_written_gives_no_half_of_a_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write("log.csv", "step,loss\n1,0.5\n2,0.2")
    imported("log.csv")
    assert "left out: 1 rows that are still being written" in capsys.readouterr().err
    assert [record["loss"] for record in metrics()] == [0.5]
    with path.open("a") as file:
        file.write("5\n3,0.125")
    imported("log.csv")
    assert [record["loss"] for record in metrics()] == [0.5, 0.25]
    os.utime(path, (0, 0))  # a file that ends without a newline
    imported("log.csv")
    assert [record["loss"] for record in metrics()] == [0.5, 0.25, 0.125]


def test_a_table_of_lightning_is_train_and_val_records_at_its_steps() -> None:
    write("lightning_logs/version_0/metrics.csv", LIGHTNING)
    imported("lightning_logs")
    assert metrics() == [
        {"type": "train", "step": 49, "epoch": 0, "train_loss": 0.5},
        {"type": "train", "step": 99, "epoch": 0, "train_loss": 0.25},
        {"type": "val", "step": 99, "epoch": 0, "val_loss": 0.3},
    ]
    first, last = records()[0], records()[-1]
    assert first["run_name"] == "version_0/metrics"
    assert first["run_id"] == logs()[0].stem.removeprefix("training_log_")
    assert (last["type"], last["status"]) == ("end", "finished")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("step;loss\n1;0,5\n", {"step": 1, "loss": 0.5}),  # a country's comma
        ("step\tloss\tname\n1\t0.5\ta, b\n", {"step": 1, "loss": 0.5, "name": "a, b"}),
        ("\ufeffGlobal_Step,loss\n7,nan\n", {"step": 7, "loss": "NaN"}),
        ('"Step","a - loss"\n"3","0.5"\n', {"step": 3, "a - loss": 0.5}),  # wandb's page
        ("epoch,accuracy,loss\n0,0.5,1e-3\n", {"epoch": 0, "accuracy": 0.5, "loss": 1e-3}),  # Keras
        ("time,loss\n12.5,1\n", {"time": 12.5, "loss": 1}),  # seconds that it took
        ("step,loss\n1.5,1\n", {"train/step": 1.5, "loss": 1}),
        ("step,type,ok\n1,warm,true\n", {"step": 1, "train/type": "warm", "ok": True}),
        ("step,a,a\n1,2,3\n", {"step": 1, "a": 2, "a_": 3}),
        ("Wall time,Step,Value\n1700000000.5,3,0.25\n",
         {"timestamp": "2023-11-14T22:13:20.500+00:00", "step": 3, "Loss": 0.25}),
        ("timestamp,step,loss\n2024-01-15 14:30:22,5\n",
         {"timestamp": "2024-01-15T14:30:22.000+00:00", "step": 5}),
        ("date,loss\n1700000000500,1\n", {"timestamp": "2023-11-14T22:13:20.500+00:00", "loss": 1}),
    ],
)  # fmt: skip
def test_a_row_is_a_record_with_its_own_names(text: str, found: dict[str, Any]) -> None:
    if "14:30" in text:
        text = text.replace("\n2024-01-15 14:30:22,5", "\n2024-01-15 14:30:22,5,1")
        found = found | {"loss": 1}
    write("run-x-tag-Loss.csv", text)
    imported("run-x-tag-Loss.csv")
    assert metrics() == [{"type": "train"} | found]


def test_our_own_export_comes_back() -> None:
    write("a.csv", "type,timestamp,step,val/loss\nval,2024-01-15T12:00:00.000+00:00,3,0.5\n")
    imported("a.csv")
    timestamp = "2024-01-15T12:00:00.000+00:00"
    assert metrics() == [{"type": "val", "timestamp": timestamp, "step": 3, "val/loss": 0.5}]
    assert records()[0]["created"] == timestamp


def test_damaged_rows_cost_themselves_and_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.csv", "step,loss\n1,0.5\nstep,loss\n2,0.4,9\n3,\n4,0.3\n")
    imported("a.csv")
    assert [record["step"] for record in metrics()] == [1, 2, 4]
    said = capsys.readouterr().err
    assert "1 rows' cells beyond the last column" in said
    assert "1 rows without a metric" in said


def test_a_table_without_names_of_columns_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.csv", "1,0.5\n2,0.4\n")
    imported("a.csv", code=Exit.FAILED)
    assert "does not name the columns" in capsys.readouterr().err
    assert logs() == []


# --- JSON


@pytest.mark.parametrize(
    "before", ['{"config": {"lr": 0.1}}\n', "\n", '\n{"args": {"lr": 0.1}}\n\n']
)
def test_lines_behind_their_config_are_found_in_a_folder(before: str) -> None:
    write("runs/a.jsonl", before + '{"step": 1, "loss": 0.5}\n')
    imported("runs")
    assert [record["loss"] for record in metrics()] == [0.5]


def test_lines_of_json_are_records_and_the_first_may_be_the_config(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = '{"config": {"lr": 0.1, "api_key": "abcdefghijklmnop"}}'
    lines = [config, '{"step": 1, "loss": 0.5, "more": {"a": 1}}', "{torn", "7",
             '{"global_step": 2, "epoch": 0.5, "eval_loss": NaN}']  # fmt: skip
    write("train.jsonl", "\n".join(lines))
    imported("train.jsonl")
    assert records()[0]["config"]["lr"] == 0.1
    assert b"abcdefghijklmnop" not in logs()[0].read_bytes()
    assert metrics() == [
        {"type": "train", "step": 1, "loss": 0.5, "more": {"a": 1}},
        {"type": "val", "step": 2, "epoch": 0.5, "eval_loss": "NaN"},
    ]
    assert "2 lines that are no JSON object" in capsys.readouterr().err


@pytest.mark.parametrize(
    "document",
    [
        [{"step": 0, "loss": 2.0}, {"step": 1, "loss": 1.0}],
        {"loss": [2.0, 1.0], "val_loss": [3.0]},  # Keras' history.history
        {"step": 4, "loss": 1.0},
    ],
)
def test_a_whole_document_may_hold_the_rows(document: Any) -> None:
    write("history.json", json.dumps(document))
    imported("history.json")
    assert metrics()[-1]["loss"] == 1.0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", """{"step": 1, "tag": "loss", "value": 2.0}
{"step": 1, "tag": "val/f1", "value": 0.5}
{"step": 2, "tag": "loss", "value": 1.0}
"""),
        ("a.csv", "step,metric,Value\n1,loss,2.0\n1,val/f1,0.5\n2,loss,1.0\n"),
        ("a.json", '{"loss": [[1.7e9, 1, 2.0], [1.7e9, 2, 1.0]], "val/f1": [[1.7e9, 1, 0.5]]}'),
    ],
)  # fmt: skip
def test_values_beside_the_names_of_their_metrics_are_a_curve_each(name: str, text: str) -> None:
    write(name, text)
    imported(name)
    assert [
        (record["type"], record["step"], record.get("loss"), record.get("val/f1"))
        for record in metrics()
    ] == [("train", 1, 2.0, None), ("val", 1, None, 0.5), ("train", 2, 1.0, None)]


def test_a_curve_that_tensorboards_page_gave_out_has_the_name_of_its_tag() -> None:
    write("run-a-tag-loss.json", "[[1700000000.5, 1, 2.0], [1700000001.5, 2, 1.0]]")
    imported("run-a-tag-loss.json")
    assert [(record["step"], record["loss"]) for record in metrics()] == [(1, 2.0), (2, 1.0)]
    assert metrics()[0]["timestamp"].startswith("2023-11-14T22:13:20.5")


def test_a_trainer_state_is_what_the_callback_would_have_written() -> None:
    write("out/checkpoint-20/trainer_state.json", json.dumps(STATE))
    imported("out")
    assert metrics() == [
        {"type": "train", "step": 10, "epoch": 0.5, "train/learning_rate": 5e-05,
         "train/loss": 1.0},
        {"type": "val", "step": 20, "epoch": 1.0, "val/loss": 0.3, "val/runtime": 1.0,
         "val/samples_per_second": 4.0},
        {"type": "train", "step": 20, "epoch": 1.0, "train/total_flos": 1.0,
         "train/train_loss": 0.7, "train/runtime": 9.0},
    ]  # fmt: skip
    assert records()[0]["run_name"] == "out"
    assert records()[0]["config"]["trainer_state"]["best_metric"] == 0.3


def test_the_states_of_all_checkpoints_are_one_run() -> None:
    early = STATE | {"log_history": STATE["log_history"][:1]}  # type: ignore[index]
    write("out/checkpoint-10/trainer_state.json", json.dumps(early))
    write("out/checkpoint-20/trainer_state.json", json.dumps(STATE))
    write("out/checkpoint-5/trainer_state.json", json.dumps(early))
    imported("out")
    assert len(metrics()) == 3


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.jsonl", '{"type":"config","run_id":"r"}\n', "is a record log already"),
        ("a b.jsonl", '{"type":"config","run_id":"r"}\n', "/a b.jsonl'"),  # for a shell
        ("a.json", '{"train_metrics": [{"step": 1}]}', "is an older training log"),
        ("a.json", '{"hello": 1}', "holds no metrics in a form that is known"),
        ("a.json", "", "has no metrics in it"),
        ("a.csv", "step,loss\n", "has no metrics in it"),
    ],
)
def test_what_is_no_other_trainers_log_is_told(
    name: str, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(name, text)
    imported(name, code=Exit.FAILED)
    assert words in capsys.readouterr().err
    assert logs() == []


# --- event files


def event_file(folder: str, suffix: str = "") -> Any:
    """torch's and tensorboardX's SummaryWriter write the same files."""
    tensorboard = pytest.importorskip("tensorboardX")
    return tensorboard.SummaryWriter(folder, filename_suffix=suffix)


def test_event_files_are_a_run_per_folder_with_a_record_per_step() -> None:
    for name in ("one", "two"):
        with event_file(f"runs/{name}") as writer:
            for step in (1, 2):
                writer.add_scalar("loss", 0.5 / step, step, walltime=1_700_000_000 + step)
                writer.add_scalar("lr", 0.25, step, walltime=1_700_000_000.5 + step)
            writer.add_scalar("val/loss", float("nan"), 2, walltime=1_700_000_010)
    imported("runs")
    assert [records(path)[0]["run_name"] for path in logs()] in (
        ["runs/one", "runs/two"], ["runs/two", "runs/one"],
    )  # fmt: skip
    for path in logs():
        assert metrics(path) == [
            {"type": "train", "step": 1, "timestamp": "2023-11-14T22:13:21.000+00:00", "loss": 0.5,
             "lr": 0.25},
            {"type": "train", "step": 2, "timestamp": "2023-11-14T22:13:22.000+00:00",
             "loss": 0.25, "lr": 0.25, "val/loss": "NaN"},
        ]  # fmt: skip


def test_pictures_hyperparameters_and_what_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    np = pytest.importorskip("numpy")
    with event_file("run") as writer:
        writer.add_scalar("step", 7, 1)
        writer.add_image("roll", np.zeros((3, 2, 2), "uint8"), 1)
        writer.add_histogram("weights", np.ones(4), 1)
        hparams = writer.file_writer
        from tensorboardX.summary import hparams as of_hparams

        for summary in of_hparams({"lr": 0.5, "name": "a"}, {"acc": 1.0}):
            hparams.add_summary(summary)
    imported("run")
    assert records()[0]["config"] == {"lr": 0.5, "name": "a"}
    first, picture = metrics()
    assert (first["step"], first["train/step"]) == (1, 7)
    assert (picture["type"], picture["key"], picture["kind"]) == ("media", "roll", "image")
    run_id = records()[0]["run_id"]
    assert (Path("logs/media") / run_id / picture["path"]).read_bytes()[:4] == b"\x89PNG"
    assert "left out: 1 histograms" in capsys.readouterr().err
    before = logs()[0].read_bytes()
    imported("run")
    assert logs()[0].read_bytes() == before


def test_pictures_of_long_names_that_begin_alike_are_all_kept() -> None:
    np = pytest.importorskip("numpy")
    names = ["歌" * 30 + end for end in "ab"]
    with event_file("run") as writer:
        for shade, name in enumerate(names):
            writer.add_image(name, np.full((3, 2, 2), 90 * shade, "uint8"), 1)
    imported("run")
    folder = Path("logs/media") / records()[0]["run_id"]
    assert [record["key"] for record in metrics()] == names
    assert len({(folder / record["path"]).read_bytes() for record in metrics()}) == 2


def test_a_torn_or_damaged_event_file_is_read_up_to_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with event_file("run") as writer:
        for step in range(5):
            writer.add_scalar("loss", step, step)
    (file,) = Path("run").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    imported("run")
    assert [record["loss"] for record in metrics()] == [0, 1, 2, 3]
    assert "what follows a damaged place" in capsys.readouterr().err
    file.write_bytes(whole)
    imported("run")
    assert [record["loss"] for record in metrics()] == [0, 1, 2, 3, 4]
    middle = len(whole) // 2
    file.write_bytes(whole[:middle] + b"\xff" * 60 + whole[middle + 60 :])
    imported("run")
    assert [record["loss"] for record in metrics()] == [0, 1, 2, 3, 4]


def test_scalars_of_tensorflow_2_are_tensors() -> None:
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    record_writer = pytest.importorskip("tensorboardX.record_writer")
    event = event_pb2.Event(wall_time=1_700_000_000, step=3)
    value = event.summary.value.add(tag="epoch_loss")
    value.metadata.plugin_data.plugin_name = "scalars"
    value.tensor.dtype, value.tensor.tensor_content = 1, struct.pack("<f", 0.25)
    Path("run").mkdir()
    writer = record_writer.RecordWriter("run/events.out.tfevents.1.host")
    writer.write(event.SerializeToString())
    writer.close()
    imported("run/events.out.tfevents.1.host")
    (record,) = metrics()
    assert (record["step"], record["epoch_loss"]) == (3, 0.25)


def test_hyperparameters_that_are_damaged_are_left_out_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("tensorboardX")
    with event_file("run") as writer:
        writer.add_scalar("loss", 2, 1)
        from tensorboardX.summary import hparams as of_hparams

        for summary in of_hparams({"lr": 0.5}, {"acc": 1.0}):
            for value in summary.value:
                value.metadata.plugin_data.content = b"\xff\xff"
            writer.file_writer.add_summary(summary)
    imported("run")
    assert [record["loss"] for record in metrics()] == [2]
    assert "hyperparameters that are damaged" in capsys.readouterr().err


# --- twice is once


def test_the_same_file_again_is_the_same_log_and_a_longer_one_goes_on() -> None:
    write("run/metrics.csv", LIGHTNING)
    imported("run/metrics.csv")
    before = logs()[0].read_bytes()
    imported(os.path.abspath("run/metrics.csv"))  # noqa: PTH100
    imported("run")
    assert logs()[0].read_bytes() == before
    write("run/metrics.csv", LIGHTNING + "1,149,0.125,\n")
    imported("run")
    assert logs()[0].read_bytes().startswith(before)
    assert [record["type"] for record in records()][4:] == ["end", "config", "train", "end"]
    assert metrics()[-1]["train_loss"] == 0.125


def test_behind_a_line_that_a_full_disk_cut_short_the_rest_is_imported() -> None:
    write("run/metrics.csv", LIGHTNING)
    imported("run/metrics.csv")
    (log,) = logs()
    whole = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(whole[:2]) + whole[2][:9])  # config, the first row, a half of another
    imported("run/metrics.csv")
    assert log.read_bytes().splitlines()[2] == whole[2][:9]
    whole_again = [
        json.loads(line) for line in log.read_bytes().splitlines() if line != whole[2][:9]
    ]
    rows = [record for record in whole_again if record["type"] in ("train", "val")]
    assert rows == [json.loads(line) for line in whole[1:4]]


def test_a_step_that_got_more_metrics_since_gets_those_alone() -> None:
    with event_file("run") as writer:
        writer.add_scalar("loss", 0.5, 1)
    imported("run")
    with event_file("run", ".later") as writer:
        writer.add_scalar("acc", 0.25, 1)
        writer.add_scalar("loss", 0.125, 2)
    for _ in range(2):
        imported("run")
        found = [{k: v for k, v in r.items() if k != "timestamp"} for r in metrics()]
        assert found == [
            {"type": "train", "step": 1, "loss": 0.5},
            {"type": "train", "step": 1, "acc": 0.25},
            {"type": "train", "step": 2, "loss": 0.125},
        ]


def test_runs_that_begin_alike_are_told_apart_by_their_paths() -> None:
    write("a/version_0/metrics.csv", "step,loss\n0,1.0\n1,0.5\n")
    write("b/version_0/metrics.csv", "step,loss\n0,1.0\n1,0.25\n")
    for _ in range(2):
        imported("a", "b")
        found = sorted(metrics(path)[1]["loss"] for path in logs())
        assert found == [0.25, 0.5]


def test_a_file_that_was_written_anew_is_not_put_behind_the_old_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("run/metrics.csv", "step,loss\n0,1.0\n1,0.5\n")
    imported("run")
    before = logs()[0].read_bytes()
    write("run/metrics.csv", "step,loss\n0,1.0\n1,0.25\n")
    imported("run", code=Exit.FAILED)
    assert "has other metrics than when it was imported" in capsys.readouterr().err
    assert logs()[0].read_bytes() == before
    imported("run", "--run_name", "second")
    assert len(logs()) == 2


@pytest.mark.parametrize("name", ["run.csv", "run.jsonl", "trainer_state.json", "run"])
def test_what_would_be_waited_for_is_named_and_not_read(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("runs/good/metrics.csv", "step,loss\n1,0.5\n")
    os.mkfifo(f"runs/{name}")
    imported("runs", code=Exit.FAILED if name == "trainer_state.json" else Exit.OK)
    assert len(logs()) == 1
    Path("runs/zero.csv").symlink_to("/dev/zero")
    capsys.readouterr()
    imported(f"runs/{name}", "runs/zero.csv", code=Exit.FAILED)
    said = "".join(capsys.readouterr())
    assert f"{name}: can't be read: it is no regular file but a FIFO" in said
    assert "zero.csv: can't be read: it is no regular file but a device" in said


def test_the_runs_of_a_folder_are_its_logs_alone(capsys: pytest.CaptureFixture[str]) -> None:
    write("data/notes.csv", "onset,offset,pitch\n0.5,0.8,57\n")
    write("data/.hidden/metrics.csv", LIGHTNING)
    write("data/training_log_a.jsonl", '{"type":"config","run_id":"r","step":1}\n')
    imported("data", code=Exit.FAILED)
    assert "holds no event files" in capsys.readouterr().err
    imported("nowhere", code=Exit.FAILED)
    assert "no such file" in capsys.readouterr().err


def test_a_project_that_is_given_is_the_runs() -> None:
    write("a.csv", LIGHTNING)
    imported("a.csv", "--project", "songs")
    assert records()[0]["project"] == "songs"


# --- what somebody else may have put there


@pytest.mark.parametrize(
    ("name", "text"), [("a.csv", "step,loss\n1,2\n"), ("a.jsonl", '{"step": 1, "loss": 2}\n')]
)
def test_a_hole_behind_the_rows_is_neither_held_nor_gone_through(name: str, text: str) -> None:
    path = write(name, text)
    os.truncate(path, 1 << 40)
    imported(name)
    assert metrics() == [{"type": "train", "step": 1, "loss": 2}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", f"step,loss\n1,2\n2,{'9' * (2 << 20)}\n3,4\n"),
        ("a.csv", "step,loss\n1,2\n2" + ',"x\ny"' * 200_000 + "\n3,4\n"),
        ("a.jsonl", '{"step":1,"loss":2}\n{"x":"' + "9" * (2 << 20) + '"}\n{"step":3,"loss":4}\n'),
    ],
)
def test_a_row_that_is_too_long_is_left_out_and_those_behind_it_are_not(
    name: str, text: str
) -> None:
    write(name, text)
    imported(name)
    assert [record["loss"] for record in metrics() if "step" in record] == [2, 4]


def test_a_header_without_an_end_keeps_no_other_table_from_being_imported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("runs/good.csv", "step,loss\n1,2\n")
    os.truncate(write("runs/a.csv", "step,a"), 1 << 40)
    write("runs/b.csv", "step,loss\r1,2\r")
    imported("runs")
    assert len(metrics()) == 1
    imported("runs/b.csv", code=Exit.FAILED)
    assert "none of a table" in capsys.readouterr().err


def test_any_number_of_columns_of_one_name_are_told_apart() -> None:
    write("a.csv", f"step{',a' * 100_000}\n1{',2' * 15}\n")
    imported("a.csv")
    assert [*metrics()[0]][2:] == [f"a{'_' * n}" for n in range(10)] + [
        f"a_{n}" for n in range(10, 15)
    ]


@pytest.mark.parametrize(
    "moment", ["9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.999999", 9.9e16]
)
def test_a_moment_that_no_calendar_has_is_none_that_ends_the_import(moment: object) -> None:
    write("a.jsonl", json.dumps({"step": 1, "timestamp": moment, "loss": 2}))
    imported("a.jsonl")
    assert [record["loss"] for record in metrics()] == [2]


def test_a_config_that_no_line_holds_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    write("trainer_state.json", json.dumps(STATE | {"best_model_checkpoint": "x" * (2 << 20)}))
    imported("trainer_state.json")
    assert records()[0]["config"] == {}
    assert "left out: 1 config" in capsys.readouterr().err
    assert metrics()


@pytest.mark.parametrize(("mode", "followed"), [(0o755, True), (0o777, False)])
@pytest.mark.parametrize("name", ["a.jsonl", "trainer_state.json", "events.out.tfevents.1"])
def test_a_link_that_others_may_have_put_into_a_folder_is_not_followed(
    name: str, mode: int, followed: bool
) -> None:
    pytest.importorskip("tensorboardX")
    secret = write("private/secret", '{"step": 1, "loss": 2}\n')
    if name.startswith("events"):
        with event_file("private") as writer:
            writer.add_scalar("loss", 2, 1)
        secret = next(Path("private").glob("events*"))
    elif name.endswith(".json"):
        secret.write_text(json.dumps(STATE))
    write("runs/good.csv", "step,loss\n1,2\n")
    Path("runs").chmod(mode)
    link = Path("runs", name)
    link.symlink_to(secret.absolute())
    main(["import", "runs"])
    assert len(logs()) == 1 + followed
    if not name.startswith("events"):  # one that is named is meant
        imported(str(link))
        assert len(logs()) == 2

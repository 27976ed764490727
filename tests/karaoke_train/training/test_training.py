"""Real trainings: the main job, interrupting and resuming, two processes."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import soundfile
import torch
from transformers import Trainer, TrainerCallback

from karaoke_train import annotations
from karaoke_train.dataset.batches import SegmentDataset, collate
from karaoke_train.dataset.load import DataError, load_data
from karaoke_train.inference.metrics import Counts, count_notes, count_pitches
from karaoke_train.model.build import build_model
from karaoke_train.model.checkpoints import load_model, save_model
from karaoke_train.model.decode import decode, frame_pitch
from karaoke_train.model.model import VoiceToNotesModel, unpack_posteriors
from karaoke_train.model.resumable import CheckpointError, find_resumable
from karaoke_train.runlog import RunLog
from karaoke_train.settings import FAST_DEV, TrainSettings
from karaoke_train.synth import VALIDATION_VOICES, synthetic_songs
from karaoke_train.training import fit, run
from karaoke_train.training.runlog_callback import RunLogCallback
from karaoke_train.training.trainer import with_rate
from tests.karaoke_train.conftest import PROGRAM, Ran, karaoke_train
from tests.karaoke_train.runlog.files import warned
from tests.patience import patience

QUICK = TrainSettings(
    **{**FAST_DEV, "fast_dev": True, "synthetic": 6, "max_samples": 8, "epochs": 2}
)


def test_fast_dev_finishes_and_says_where_everything_is(fast_dev: Ran) -> None:
    assert fast_dev.code == 0, fast_dev.err
    assert "a small Whisper encoder with random weights" in fast_dev.out
    for word in (
        "within a semitone",
        "picture     ",
        f"log         {fast_dev.log()}",
        "checkpoint  ",
    ):
        assert word in fast_dev.out
    [picture] = (fast_dev.folder / "checkpoints").glob("*/curves.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_fast_dev_learns_tolerant_pitch_at_least_doubles(fast_dev: Ran) -> None:
    values = [r["val/pitch_tolerance_acc"] for r in fast_dev.records("val")]
    assert len(values) == FAST_DEV["epochs"]
    assert values[-1] >= 2 * values[0]
    assert values[-1] >= 0.9
    losses = [r["val/loss"] for r in fast_dev.records("val")]
    assert losses[-1] < 0.5 * losses[0]


def test_fast_dev_writes_every_kind_of_record(fast_dev: Ran) -> None:
    kinds = [record["type"] for record in fast_dev.records()]
    assert kinds[0] == "config"
    assert kinds[-1] == "end"
    assert set(kinds) - {"system"} == {"config", "train", "val", "media", "epoch_summary", "end"}
    steps = [record["step"] for record in fast_dev.records("train")]
    assert steps == list(range(1, len(steps) + 1))
    wanted = {"train/loss", "train/note_accuracy", "train/pitch_tolerance_acc"}
    assert all(wanted <= record.keys() for record in fast_dev.records("train"))
    wanted = {f"val/{m}" for m in ("note_accuracy", "onset_f1", "onset_pitch_f1", "note_f1")}
    assert all(wanted <= record.keys() for record in fast_dev.records("val"))


def test_each_validation_has_a_picture(fast_dev: Ran) -> None:
    [folder] = (fast_dev.folder / "logs" / "media").iterdir()
    for record in fast_dev.records("media"):
        assert (folder / record["path"]).read_bytes().startswith(b"\x89PNG")
    assert len(fast_dev.records("media")) == len(fast_dev.records("val"))


def trained(
    folder: Path, callbacks: list[TrainerCallback], resume: Path | None = None, **changes: Any
) -> tuple[fit.Outcome, torch.nn.Module]:
    """An in-process training on eight synthetic segments, and its last weights."""
    settings = TrainSettings(**{**QUICK.as_config(), **changes})
    model = build_model(settings)
    outcome = fit.fit(
        settings,
        load_data(settings),
        model,
        run_dir=folder,
        callbacks=callbacks,
        log_path=folder / "log.jsonl",
        flags={"epochs": settings.epochs},
        resume_from=resume,
    )
    return outcome, model


class InterruptAt(TrainerCallback):
    """Sends this process a signal at a step, as Ctrl-C does."""

    def __init__(self, step: int, number: signal.Signals = signal.SIGINT) -> None:
        self.step, self.number = step, number

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step - 1:
            os.kill(os.getpid(), self.number)


class Rates(TrainerCallback):
    """The learning rates of the weights at each step, by their names."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        names = {id(weight): name for name, weight in kwargs["model"].named_parameters()}
        groups = kwargs["optimizer"].param_groups
        self.seen.append({names[id(w)]: g["lr"] for g in groups for w in g["params"]})


def test_an_encoder_learns_at_its_own_rate_and_the_others_is_logged(tmp_path: Path) -> None:
    rates = Rates()
    outcome, model = trained(tmp_path, [rates], lr=2e-3, encoder_lr=2e-4, batch_size=2)
    names = {name for name, weight in model.named_parameters() if weight.requires_grad}
    logged = [entry["learning_rate"] for entry in outcome.history if "learning_rate" in entry]
    for seen, rate in zip(rates.seen, logged, strict=True):
        assert set(seen) == names  # not the position embeddings
        for name, found in seen.items():
            factor = 0.1 if name.startswith("encoder.") else 1.0
            assert found == pytest.approx(factor * rate), name


def test_groups_of_parameters_are_parted_by_their_rates() -> None:
    groups = [{"params": [1, 2], "lr": 1.0, "weight_decay": 0.1}, {"params": [3], "lr": 1.0}]
    own = {id(2), id(3)}
    assert with_rate(groups, own, 0.5) == [
        {"params": [1], "lr": 1.0, "weight_decay": 0.1},
        {"params": [2], "lr": 0.5, "weight_decay": 0.1},
        {"params": [3], "lr": 0.5},
    ]
    assert with_rate(groups, set(), 0.5) == groups


@pytest.mark.parametrize(
    ("number", "rates"),
    [(signal.SIGINT, {}), (signal.SIGTERM, {}), (signal.SIGTERM, {"encoder_lr": 1e-4})],
)
def test_interrupted_in_mid_epoch_and_resumed_equals_unbroken(
    tmp_path: Path, number: signal.Signals, rates: dict[str, float]
) -> None:
    quick = {"batch_size": 2, "epochs": 2, **rates}
    whole, _ = trained(tmp_path / "whole", [], **quick)
    broken, _ = trained(tmp_path / "broken", [InterruptAt(3, number)], **quick)
    assert (broken.status, broken.best) == ("interrupted", None)
    assert not any("eval_loss" in entry for entry in broken.history)

    found = find_resumable(tmp_path / "broken")
    assert found.folder == broken.checkpoint == tmp_path / "broken" / "checkpoint-3"
    resumed, _ = trained(tmp_path / "broken", [], found.folder, **quick)

    assert resumed.status == "finished"
    for key in ("loss", "eval_loss", "eval_onset_f1"):
        unbroken = [entry[key] for entry in whole.history if key in entry]
        assert [entry[key] for entry in resumed.history if key in entry] == unbroken
    assert resumed.best is not None
    assert whole.best is not None
    a, b = load_model(whole.best), load_model(resumed.best)
    for name, value in a.state_dict().items():
        torch.testing.assert_close(value, b.state_dict()[name], atol=0, rtol=0)


def test_patience_ends_training_and_the_best_is_kept(tmp_path: Path) -> None:
    outcome, _ = trained(tmp_path, [], lr=1e-9, epochs=6, patience=2)
    assert outcome.status == "finished"
    assert outcome.epochs == 3.0  # the first is the best, two more are not better
    assert len(list(tmp_path.glob("checkpoint-*"))) == 2


class DiesAtItsFirstCheckpoint(TrainerCallback):
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        raise MemoryError


def test_a_run_that_dies_after_its_first_validation_leaves_its_best_model(tmp_path: Path) -> None:
    with pytest.raises(MemoryError):
        trained(tmp_path, [DiesAtItsFirstCheckpoint()], epochs=2)
    assert load_model(tmp_path / "best").config.encoder.d_model > 0


class RemembersItsFirst(TrainerCallback):
    """The weights at the first validation."""

    def __init__(self) -> None:
        self.weights: dict[str, torch.Tensor] = {}

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.weights:
            self.weights = {k: v.clone() for k, v in kwargs["model"].state_dict().items()}


def test_a_checkpoint_that_can_not_be_written_costs_itself_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, first = torch.save, RemembersItsFirst()

    def on_a_full_disk(what: Any, path: Any, *args: Any, **kwargs: Any) -> None:
        if "checkpoint-1" in str(path):
            raise RuntimeError("basic_ios::clear: iostream error")
        real(what, path, *args, **kwargs)

    monkeypatch.setattr(torch, "save", on_a_full_disk)
    with warned("checkpoint-1 could not be written (basic_ios"):
        outcome, _ = trained(tmp_path, [first], epochs=2, lr=1e-9)  # the first stays the best
    assert outcome.status == "finished"
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-2"]
    assert outcome.checkpoint == tmp_path / "checkpoint-2"
    assert outcome.best is not None
    for name, value in load_model(outcome.best).state_dict().items():
        torch.testing.assert_close(value, first.weights[name], atol=0, rtol=0)


def test_a_training_on_a_full_disk_goes_on_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: VoiceToNotesModel, folder: Path, **kwargs: Any) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "config.json").touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(VoiceToNotesModel, "save_pretrained", full)
    told = [f"{name} could not be written" for name in ("best", "checkpoint-1", "best")]
    with warned(*told):
        outcome, _ = trained(tmp_path, [], epochs=1)
    assert (outcome.status, outcome.best, outcome.checkpoint) == ("finished", None, None)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_training_whose_model_could_not_be_written_has_failed(tmp_path: Path) -> None:
    outcome = fit.Outcome("finished", [], None, None, 1.0)
    assert "the model could not be written" in run._closing(outcome, tmp_path / "log", tmp_path)
    assert run._exit_code(outcome) == 1


def test_an_interrupted_training_without_a_checkpoint_names_none(tmp_path: Path) -> None:
    said = run._closing(fit.Outcome("interrupted", [], None, None, 0.5), tmp_path / "log", tmp_path)
    assert "resume      not possible: no checkpoint could be written" in said
    assert "None" not in said


def test_a_new_training_starts_from_an_old_model(tmp_path: Path) -> None:
    old, _ = trained(tmp_path / "old", [], epochs=1)
    changes = {"from_scratch": None, "init": str(old.best), "lr": 1e-9, "epochs": 1}
    new, _ = trained(tmp_path / "new", [], **changes)
    assert (old.best, new.best) != (None, None)
    was, now = load_model(str(old.best)), load_model(str(new.best))
    for name, weight in was.state_dict().items():
        torch.testing.assert_close(weight, now.state_dict()[name], atol=1e-6, rtol=0)


def test_a_frozen_encoder_hears_each_segment_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = build_model(TrainSettings(**{**QUICK.as_config(), "seed": 1}))
    start.config.contour = False
    start.contour = None
    save_model(start, tmp_path / "start")
    changes = {"from_scratch": None, "init": str(tmp_path / "start"), "freeze_encoder": True}
    encoded = []
    encode = VoiceToNotesModel.encode

    def counted(self: VoiceToNotesModel, mel: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        encoded.append(len(mel))
        return encode(self, mel, lengths)

    monkeypatch.setattr(VoiceToNotesModel, "encode", counted)
    once, _ = trained(tmp_path / "once", [], epochs=3, **changes)
    data = load_data(QUICK)
    assert sum(encoded) == len(data.train) + len(data.val)

    monkeypatch.setattr(VoiceToNotesModel, "has_fixed_states", False)
    anew, _ = trained(tmp_path / "anew", [], epochs=3, **changes)
    assert sum(encoded) == len(data.train) + len(data.val)
    losses = [
        [entry["eval_loss"] for entry in outcome.history if "eval_loss" in entry]
        for outcome in (once, anew)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)  # kept as half floats


def test_validation_has_every_style_that_training_does_not_hear() -> None:
    data = load_data(TrainSettings(synthetic=30))
    assert len(data.train) == 30
    heard = Counter(segment.song.name.rpartition("-")[0] for segment in data.val)
    assert heard == {f"synthetic-{name}": 2 for name in VALIDATION_VOICES}


def test_gradient_accumulation_takes_fewer_steps(tmp_path: Path) -> None:
    outcome, _ = trained(tmp_path, [], batch_size=2, grad_accum_steps=2, epochs=1)
    assert sum("loss" in entry for entry in outcome.history) == 2


def test_half_precision_trains_too(tmp_path: Path) -> None:
    outcome, model = trained(tmp_path, [], precision="bf16", epochs=1)
    assert outcome.status == "finished"
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_nothing_to_resume_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing to resume in"):
        find_resumable(tmp_path)


@pytest.mark.parametrize("lost", ["rng_state.pth", "scheduler.pt", "optimizer.pt"])
def test_a_checkpoint_that_was_half_removed_is_not_resumed(tmp_path: Path, lost: str) -> None:
    """As a kill leaves the one that the Trainer removes to make room: the newest with a run file,
    since the one that it makes room for has none yet."""
    trained(tmp_path / "run", [])
    older, newer = (tmp_path / "run" / f"checkpoint-{n}" for n in (1, 2))
    assert find_resumable(tmp_path).folder == newer
    (newer / lost).unlink()
    assert find_resumable(tmp_path).folder == older
    with pytest.raises(CheckpointError, match=r"checkpoint-2 lacks some of its files"):
        find_resumable(newer)


def test_a_checkpoint_that_is_being_written_over_is_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a kill leaves it, in a training that was resumed from an older one."""

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    trained(tmp_path / "run", [])
    older, newer = (tmp_path / "run" / f"checkpoint-{n}" for n in (1, 2))
    monkeypatch.setattr(Trainer, "_save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "run", [], older)
    assert newer.is_dir()
    assert find_resumable(tmp_path).folder == older


def test_an_epoch_whose_last_steps_were_not_logged_by_its_end_resumes_like_an_unbroken_one(
    tmp_path: Path,
) -> None:
    quick = {"batch_size": 1, "epochs": 3, "synthetic": 12, "max_samples": 12, "fast_dev": False}
    whole, model = trained(tmp_path / "whole", [], **quick)
    logged = [entry["step"] for entry in whole.history if "loss" in entry]
    assert logged == [10, 12, 20, 24, 30, 36]
    # Kept are the last and the best, or the one before it: of step 12 or 24
    older = min((tmp_path / "whole").glob("checkpoint-[12]*"))
    (tmp_path / "killed").mkdir()
    place = tmp_path / "killed" / older.name
    shutil.copytree(older, place)
    resumed, again = trained(tmp_path / "killed", [], place, **quick)
    assert resumed.history == whole.history
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, again.state_dict()[name], atol=0, rtol=0)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems replace it by two renames")
def test_a_model_that_is_replaced_is_there_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rename of the old one to another name would leave a moment, and a kill in it, without."""
    model = build_model(QUICK)
    save_model(model, tmp_path / "best")
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    monkeypatch.setattr(Path, "replace", None)
    save_model(model, tmp_path / "best")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    name, value = next(model.named_parameters())
    torch.testing.assert_close(load_model(tmp_path / "best").state_dict()[name], value.detach())


def test_damaged_run_file_is_named(tmp_path: Path) -> None:
    trained(tmp_path / "run", [], epochs=1)
    (tmp_path / "run" / "checkpoint-1" / "karaoke_run.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"karaoke_run\.json is damaged"):
        find_resumable(tmp_path)


def test_own_recordings_train_and_a_bad_file_is_left_out(tmp_path: Path) -> None:
    for number, song in enumerate(synthetic_songs(3, 5, simple=True, duration=4.0)):
        soundfile.write(tmp_path / f"{number}.wav", song.load(), 16_000)
        annotations.write(tmp_path / f"{number}.csv", song.notes)
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    (tmp_path / "broken.csv").write_text("onset,offset,pitch\n0,1,60\n")
    changes = {"synthetic": None, "voices_dir": str(tmp_path), "epochs": 1, "fast_dev": False}
    data = load_data(TrainSettings(**{**QUICK.as_config(), **changes}))
    assert [problem.path.name for problem in data.problems] == ["broken.wav"]
    outcome, _ = trained(tmp_path / "run", [], **changes)
    assert outcome.status == "finished"


def test_folder_without_a_usable_song_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no usable song in .* data check"):
        load_data(TrainSettings(voices_dir=str(tmp_path)))


def wait_for(path: Path, text: bytes, process: subprocess.Popen[str]) -> None:
    """Until some file under `path` holds `text`."""
    deadline = time.monotonic() + patience(90)
    while time.monotonic() < deadline and process.poll() is None:
        if any(text in log.read_bytes() for log in path.glob("*.jsonl")):
            return
        time.sleep(0.05)
    raise AssertionError(f"no {text!r} in {path}")


def test_ctrl_c_prints_the_command_that_resumes_the_same_run(tmp_path: Path) -> None:
    few = ["--fast_dev", "--offline", "--synthetic", "6", "--max_samples", "8", "--workers", "1"]
    process = subprocess.Popen(
        [*PROGRAM, *few, "--epochs", "5000", "--patience", "5000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(tmp_path / "logs", b'"type":"val"', process)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: data workers get it, too
        out, err = process.communicate(timeout=patience(60))
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, err
    assert err.count("stopping after this step") == 1
    ran = Ran(tmp_path, process.returncode, out, err)
    assert ran.records()[-1]["status"] == "interrupted"
    assert ran.records()[-1]["exit_code"] == 130
    command = re.search(r"resume +karaoke-train (--resume \S+)", out)
    assert command is not None
    before = ran.records("train")[-1]

    more = str(int(before["epoch"]) + 2)
    resumed = karaoke_train(tmp_path, *command[1].split(), "--epochs", more)

    assert resumed.code == 0, resumed.err
    first, second = resumed.records("config")
    assert first["run_id"] == second["run_id"]
    assert (second["attempt"], second["resumed_from_step"]) == (2, before["step"])
    after = [r["step"] for r in resumed.records("train") if r["step"] > before["step"]]
    assert after[0] == before["step"] + 1
    assert [record["status"] for record in resumed.records("end")] == ["interrupted", "finished"]


def test_a_scheduler_that_ends_a_run_before_its_first_step_leaves_it_an_end(tmp_path: Path) -> None:
    sings = ["--from_scratch", "dev", "--synthetic", "20000", "--offline", "--device", "cpu"]
    process = subprocess.Popen(
        [*PROGRAM, *sings],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(tmp_path / "logs", b'"type":"config"', process)
        process.terminate()
        out, err = process.communicate(timeout=patience(60))
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, "Traceback" in err) == (130, False), err
    end = Ran(tmp_path, process.returncode, out, err).records()[-1]
    assert (end["type"], end["status"], end["exit_code"]) == ("end", "interrupted", 130)


def two_processes(folder: Path, *flags: str, under: Sequence[str] = ()) -> Ran:
    """`--fast_dev` as torchrun starts it. under: a command that starts what it is given."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = subprocess.run(
        [
            *(*under, sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"),
            *("--master_port", str(port), "-m", "karaoke_train.cli", "--fast_dev", "--no_wandb"),
            *flags,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=patience(150),
        check=False,
    )
    return Ran(folder, done.returncode, done.stdout, done.stderr)


def test_two_processes_go_on_where_no_checkpoint_can_be_written(tmp_path: Path) -> None:
    full = ("sh", "-c", 'ulimit -f 1000; exec "$@"', "sh")  # files up to 0.5 MB, or 1 MB
    ran = two_processes(tmp_path, "--max_samples", "8", "--epochs", "2", under=full)
    for name in ("checkpoint-1", "checkpoint-2", "best"):
        assert f"{name} could not be written" in ran.err
    assert [record["epoch"] for record in ran.records("epoch_summary")] == [1, 2]
    assert "the model could not be written" in ran.out
    assert list((tmp_path / "checkpoints").glob("*/checkpoint-*")) == []


def test_two_processes_write_one_log_and_reduce_their_metrics(tmp_path: Path) -> None:
    # 11 segments: one rank's share is filled up with a segment that must not count twice.
    flags = ["--max_samples", "11", "--batch_size", "2", "--epochs", "2"]
    flags += ["--run_name", "pair", "--wandb_project", "mine"]
    ran = two_processes(tmp_path, *flags)
    assert ran.code == 0, ran.err
    steps = [record["step"] for record in ran.records("train")]
    assert steps == list(range(1, 7))  # 11 segments in threes: two ranks of two, twice
    assert [record["epoch"] for record in ran.records("epoch_summary")] == [1, 2]
    [config] = ran.records("config")
    assert (config["run_name"], config["project"], config["upload"]) == ("pair", "mine", False)

    best = max(ran.records("val"), key=lambda r: r["val/onset_pitch_f1"])
    alone = validated(ran.best(), max_samples=11)
    # Batched with others, a segment's last frames may be heard a little differently: so one
    # note may change sides, but not how many there are.
    assert best["val/note_accuracy"] * alone.judged == pytest.approx(alone.same_semitone, abs=1)
    for share in ("note_accuracy", "onset_recall"):
        notes = best[f"val/{share}"] * alone.reference
        assert notes == pytest.approx(round(notes), abs=1e-6)


def validated(checkpoint: Path, **changes: Any) -> Counts:
    """The validation of a fast_dev run, counted segment by segment in this process."""
    settings = TrainSettings(**{**FAST_DEV, "fast_dev": True, **changes})
    model = load_model(checkpoint)
    features = model.config.feature_settings
    dataset = SegmentDataset(load_data(settings).val, features)
    counts = Counts()
    for index in range(len(dataset)):
        example = dataset[index]
        batch = collate([example])
        inputs = {k: v for k, v in batch.items() if k not in ("index", "notes")}
        with torch.no_grad():
            [heard] = unpack_posteriors(model(**inputs), [example.features.frames])
        counts += count_notes(example.notes, decode(heard, features))
        counts += count_pitches(frame_pitch(heard.pitch, features), example.notes)
    return counts


def test_log_of_a_training_in_process_is_whole(tmp_path: Path) -> None:
    with RunLog.create(tmp_path / "logs") as log:
        trained(tmp_path / "run", [RunLogCallback(log, config=False)], epochs=1)
    kinds = [orjson.loads(line)["type"] for line in log.path.read_bytes().splitlines()]
    assert kinds == ["config", "train", "val", "media", "epoch_summary", "end"]

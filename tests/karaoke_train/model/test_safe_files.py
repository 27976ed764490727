"""A stranger's model: numbers and texts are read, and no program of its author's is run."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from karaoke_train.model.checkpoints import check_state, load_model
from karaoke_train.model.model import VoiceToNotesModel
from karaoke_train.model.resumable import RUN_FILE, CheckpointError, find_resumable
from karaoke_train.model.whisper import EncoderError, load_encoder
from tests.karaoke_train.checkpoint_files import touch_checkpoint
from tests.karaoke_train.model.test_model import tiny_whisper

ADVICE = ("weights_only", "add_safe_globals", "trust_remote_code", "use_safetensors")


class Program:
    """Runs when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def refused(words: str, mark: Path) -> None:
    assert not mark.exists()
    assert not any(advice in words for advice in ADVICE)


def test_the_program_in_these_tests_runs(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Program(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


def test_a_model_that_is_a_pickle_is_refused_without_advice_to_allow_it(
    tiny_model: VoiceToNotesModel, tmp_path: Path
) -> None:
    tiny_model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(Program(tmp_path / "mark"), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="are a pickle") as caught:
        load_model(tmp_path)
    refused(str(caught.value), tmp_path / "mark")


def test_an_encoder_that_is_a_pickle_is_refused_without_advice_to_allow_it(tmp_path: Path) -> None:
    tiny_whisper().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(Program(tmp_path / "mark"), tmp_path / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="are a pickle") as caught:
        load_encoder(str(tmp_path), offline=True)
    refused(str(caught.value), tmp_path / "mark")


@pytest.mark.parametrize(
    "more",
    [
        {"auto_map": {"AutoModel": "evil.Model"}},
        {"encoder": {"_attn_implementation": "stranger/kernel"}},
        {"attn_implementation": "stranger/kernel@main:run"},
        {"quantization_config": {"quant_method": "stranger"}},
        {"trust_remote_code": True},
        {"custom_pipelines": {"a": {"impl": "evil.Pipeline"}}},
        {"encoder": {"use_kernels": True}},
        {"attn_implementation": "flash_attention_2"},
        {"attn_implementation": {"": "sdpa", "encoder": "stranger/kernel"}},
        {"attn_implementation": ["stranger/kernel"]},
        {"a": json.loads("[" * 900 + '{"auto_map": 1}' + "]" * 900)},
    ],
)
def test_a_model_that_asks_for_code_from_elsewhere_is_refused(
    tiny_model: VoiceToNotesModel, tmp_path: Path, more: dict[str, Any]
) -> None:
    tiny_model.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | more))
    with pytest.raises(CheckpointError, match="asks for code from elsewhere"):
        load_model(tmp_path)


def test_attention_of_torchs_own_is_none_of_a_stranger(
    tiny_model: VoiceToNotesModel, tmp_path: Path
) -> None:
    tiny_model.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    own = {"attn_implementation": "eager", "auto_map": None, "trust_remote_code": False}
    config.write_text(json.dumps(json.loads(config.read_text()) | own))
    load_model(tmp_path)


def test_an_adapter_has_no_other_model_loaded_in_its_place(
    tiny_model: VoiceToNotesModel, tmp_path: Path
) -> None:
    model, encoder = tmp_path / "model", tmp_path / "encoder"
    tiny_model.save_pretrained(model)
    tiny_whisper().save_pretrained(encoder)
    for folder in (model, encoder):
        (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "a/stranger"}')
    with pytest.raises(CheckpointError, match="holds an adapter"):
        load_model(model)
    with pytest.raises(EncoderError, match="holds an adapter"):
        load_encoder(str(encoder), offline=True)


def test_an_encoder_of_the_hub_is_looked_at_before_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is in the cache, whose layout is huggingface_hub's."""
    commit = "0" * 40
    place = tmp_path / "models--a--whisper"
    tiny_whisper().save_pretrained(place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path))
    load_encoder("a/whisper", offline=True)
    config = place / "snapshots" / commit / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"auto_map": {"a": "b"}}))
    with pytest.raises(EncoderError, match="asks for code from elsewhere"):
        load_encoder("a/whisper", offline=True)


@pytest.mark.parametrize("text", ["[]", "1", '"x"', "null", "[" * 5000])
def test_a_description_that_is_no_object_is_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(tmp_path)
    with pytest.raises(EncoderError, match="damaged"):
        load_encoder(str(tmp_path))


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt"])
def test_a_checkpoint_whose_state_holds_a_program_is_not_resumed(tmp_path: Path, name: str) -> None:
    torch.save({"state": {}, "step": torch.zeros(3)}, tmp_path / "optimizer.pt")
    check_state(tmp_path)
    torch.save({"state": Program(tmp_path / "mark")}, tmp_path / name)
    with pytest.raises(CheckpointError, match="more than numbers") as caught:
        check_state(tmp_path)
    refused(str(caught.value), tmp_path / "mark")
    assert name in str(caught.value)


def test_torn_state_is_named(tmp_path: Path) -> None:
    torch.save({"step": torch.zeros(1000)}, tmp_path / "optimizer.pt")
    data = (tmp_path / "optimizer.pt").read_bytes()
    (tmp_path / "optimizer.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match=r"optimizer\.pt is damaged"):
        check_state(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "generation_config.json"])
def test_what_would_be_waited_for_in_a_model_is_named_and_not_opened(
    tiny_model: VoiceToNotesModel, tmp_path: Path, name: str
) -> None:
    tiny_model.save_pretrained(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(CheckpointError, match="is no file"):
        load_model(tmp_path)
    with pytest.raises(EncoderError):
        load_encoder(str(tmp_path))


def test_a_description_of_a_terabyte_of_nothing_is_not_held(
    tiny_model: VoiceToNotesModel, tmp_path: Path
) -> None:
    tiny_model.save_pretrained(tmp_path)
    os.truncate(tmp_path / "config.json", 1 << 40)
    with pytest.raises(CheckpointError, match="is damaged: it has more than"):
        load_model(tmp_path)


def test_a_run_file_that_would_be_waited_for_is_no_checkpoint(tmp_path: Path) -> None:
    touch_checkpoint(tmp_path)
    os.mkfifo(tmp_path / RUN_FILE)
    with pytest.raises(CheckpointError, match="is damaged"):
        find_resumable(tmp_path)

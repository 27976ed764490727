"""A stranger's model: numbers and texts are read, and no program of its author's is run."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from karaoke_train.model.checkpoints import CheckpointError, check_state, load_model
from karaoke_train.model.model import VoiceToNotesModel
from karaoke_train.model.whisper import EncoderError, load_encoder
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

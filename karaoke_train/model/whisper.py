"""A Whisper checkpoint's name or folder in, its encoder out; and whether it is the one it was.

A model whose encoder was frozen keeps the heads and the front-end alone, and names the encoder
with its checksum: a tenth of the size, and nobody's weights are copied along.
"""

# mypy: allow-untyped-calls
# (transformers is typed in part only)

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import FileMetadataError, HfHubHTTPError
from transformers import WhisperConfig
from transformers import WhisperModel as PretrainedWhisper
from transformers.utils.hub import cached_file
from transformers.utils.import_utils import is_peft_available

from karaoke_train.atomic_file import read_json
from karaoke_train.model.model import VoiceToNotesConfig
from karaoke_train.model.safe_files import (
    ADAPTER,
    adapter_problem,
    code_problem,
    weights_problem,
)

if TYPE_CHECKING:
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

_PATIENCE: Final = 10.0  # s for the hub's first answer
_POSITIONS = "embed_positions.weight"
_WAYS = (
    "Give --encoder PATH of a Whisper checkpoint on this machine, --init small to start from the "
    "model in this package or --init DIR from one of yours, --from_scratch small for one with "
    "random weights, or --fast_dev for a quick run."
)


class EncoderError(ValueError):
    """The Whisper encoder can't be had; the message says which and what to do."""


def load_encoder(name: str, *, offline: bool = False) -> WhisperEncoder:
    """The encoder of a Whisper checkpoint, float32: from a folder, the cache or the hub.

    Raises EncoderError.
    """
    if problem := _not_a_whisper(name):
        raise EncoderError(problem)
    absent = "--offline downloads nothing"
    if not offline and not Path(name).is_dir() and (trouble := _hub_trouble(name)):
        absent = f"the hub could not be asked ({trouble})"
        offline = True
    try:
        described, _ = WhisperConfig.get_config_dict(name, local_files_only=offline)
        if problem := code_problem(described) or _adapter_of(name, offline=offline):
            raise EncoderError(f"the Whisper encoder {name!r} is not loaded: {problem}.\n{_WAYS}")
        whisper = PretrainedWhisper.from_pretrained(
            name,
            local_files_only=offline,
            revision=described.get("_commit_hash") or "main",  # the one that was looked at
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
        )
    except EncoderError:
        raise
    except Exception as error:  # safetensors raises what it likes on a damaged file
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if offline and isinstance(error, OSError) and not Path(name).is_dir():
            # theirs is that they couldn't connect
            why = f"it was not downloaded to this machine before, and {absent}"
        raise EncoderError(
            f"the Whisper encoder {name!r} can't be loaded: {why}\n{_WAYS}"
        ) from None
    encoder: WhisperEncoder = whisper.get_encoder()
    return encoder


def checksum(encoder: WhisperEncoder) -> str:
    """SHA-256 of the trained weights, rounded to half floats, with their names in alphabetical
    order; hexadecimal.

    Copies of one Whisper hold its weights as float32 or as half floats: both give the same. The
    table of positions is no trained weight, and is left out: copies compute it or store it, which
    was seen to differ by 3e-4.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(encoder.state_dict().items()):
        if name == _POSITIONS:
            continue
        digest.update(name.encode())
        digest.update(weight.detach().to("cpu", torch.float16).contiguous().numpy().tobytes())
    return digest.hexdigest()


def _hub_trouble(name: str) -> str:
    """Why the hub can't be asked for a model now; "" where it answers, whatever it says.

    Asked once: the hub's own library tries again for half a minute, where connections are refused,
    and for six minutes, where nothing answers at all, with a line of its own for each try.
    """
    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=_PATIENCE)
    except (HfHubHTTPError, FileMetadataError, ValueError):  # it answered, or the name is none
        return ""
    except Exception as error:  # of whichever HTTP library it has
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ""


def _adapter_of(name: str, *, offline: bool) -> str:
    """What is wrong with a name of the hub that holds an adapter; "" for a folder. Raises OSError
    where it can't be asked."""
    if Path(name).is_dir() or not is_peft_available():  # nothing else loads one
        return ""
    found = cached_file(
        name, ADAPTER, local_files_only=offline, _raise_exceptions_for_missing_entries=False
    )
    return adapter_problem(Path(found).parent) if found else ""


def _not_a_whisper(name: str) -> str:
    """What is wrong with the folder that is named; "" for a name of the hub, or for nothing."""
    folder = Path(name)
    if not folder.is_dir():
        if not (name.startswith((".", "/", "~")) or name.count("/") > 1):
            return ""
        return f"there is no folder {name} to take a Whisper encoder from.\n{_WAYS}"
    try:
        described = read_json(folder / "config.json")
    except (OSError, ValueError, RecursionError):
        described = None
    if not isinstance(described, dict):
        return f"{folder} holds no Whisper: its config.json is missing or damaged.\n{_WAYS}"
    if problem := code_problem(described) or adapter_problem(folder):
        return f"{folder} is not loaded: {problem}.\n{_WAYS}"
    if problem := weights_problem(folder):
        return f"{problem}.\n{_WAYS}"
    if described.get("model_type") == VoiceToNotesConfig.model_type:
        return (
            f"{folder} holds a model of karaoke-train: an encoder with heads and front-end, which "
            f"--encoder would leave behind. Start from all of it with --init {folder}"
        )
    return ""

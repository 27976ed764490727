"""Models on disk: saved whole or not at all, and loaded again from whatever folder is given."""

# mypy: allow-untyped-calls
# (transformers is typed in part only)

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers.utils import logging

from karaoke_train.atomic_file import exchanged, read_json
from karaoke_train.model import pretrained
from karaoke_train.model.model import READABLE, VoiceToNotesConfig, VoiceToNotesModel
from karaoke_train.model.resumable import CheckpointError
from karaoke_train.model.safe_files import (
    adapter_problem,
    code_problem,
    state_problem,
    weights_problem,
)
from karaoke_train.model.whisper import EncoderError, checksum, load_encoder

if TYPE_CHECKING:
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

ENCODER = "encoder."  # what the names of its weights begin with


def save_model(model: VoiceToNotesModel, folder: Path) -> None:
    """The model alone, whole or not at all; one that was there before is replaced.

    Of a model whose encoder is somebody else's, heads and front-end are saved alone.
    """
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    named = bool(model.config.encoder_source)
    own = {k: v for k, v in model.state_dict().items() if not (named and k.startswith(ENCODER))}
    try:
        model.save_pretrained(part, state_dict=own)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)  # on a full disk, room for what comes
        raise
    if exchanged(part, folder):
        shutil.rmtree(part, ignore_errors=True)
        return
    # Renamed, which takes no time: a kill while the files of a large model are being removed would
    # leave a half of the old one
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    with suppress(FileNotFoundError):
        folder.replace(old)
    part.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def load_model(folder: Path | str, *, encoder: str | None = None) -> VoiceToNotesModel:
    """The model in `folder` (a `best`, a `checkpoint-…`, or a run's folder), ready for inference.

    A name of the package's models stands for its folder. encoder: where the Whisper is that a
    model of heads alone names, if not where it says. Raises CheckpointError when there is no
    model, or one of another kind or version, or another Whisper.
    """
    folder = pretrained.folder_of(folder)
    try:
        described = read_json(folder / "config.json")
    except PermissionError as error:
        raise CheckpointError(
            f"{folder}/config.json can't be read: {error.strerror}. Make it readable, or copy the "
            "model to a folder of your own."
        ) from None
    except OSError:
        raise CheckpointError(
            f"{folder} holds no model: no config.json in it. Give the folder that training named "
            f"at its end, such as checkpoints/<run>/best{_named()}."
        ) from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder}/config.json is damaged: {error}") from None
    if not isinstance(described, dict):
        raise CheckpointError(f"{folder}/config.json is damaged: it is no object")
    kind, version = described.get("model_type"), described.get("format")
    if kind != VoiceToNotesConfig.model_type:
        raise CheckpointError(
            f"{folder} holds a model of kind {kind!r}, not {VoiceToNotesConfig.model_type!r}. "
            "A bare Whisper goes to training's --encoder."
        )
    if version not in READABLE:
        raise CheckpointError(
            f"{folder} was written in checkpoint format {version}, this version of karaoke-train "
            f"reads {READABLE[0]} to {READABLE[-1]}. Use the version that wrote it, or train again."
        )
    if problem := code_problem(described) or adapter_problem(folder):
        raise CheckpointError(f"{folder} is not loaded: {problem}.")
    if problem := weights_problem(folder):
        raise CheckpointError(f"{problem}.")
    return _loaded(folder, encoder)


def check_state(folder: Path) -> None:
    """Raises CheckpointError when training can't go on from the checkpoint's state, or should not:
    it holds more than numbers."""
    if problem := state_problem(folder):
        raise CheckpointError(f"{problem}.")


def _named() -> str:
    names = pretrained.names()
    return f", or the name of a model in this package: {', '.join(names)}" if names else ""


def _loaded(folder: Path, encoder: str | None) -> VoiceToNotesModel:
    loaded: Any  # with output_loading_info, transformers gives a pair
    try:
        with _unreported():
            loaded = VoiceToNotesModel.from_pretrained(
                folder,
                local_files_only=True,
                output_loading_info=True,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
            )
    except Exception as error:  # safetensors and torch raise what they like on a damaged file
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"the model in {folder} can't be loaded: {first}. The file is damaged or was copied "
            "in part; copy it again or use another checkpoint."
        ) from error
    model, report = loaded
    assert isinstance(model, VoiceToNotesModel)
    missing = set(report["missing_keys"])
    elsewhere = {key for key in model.state_dict() if key.startswith(ENCODER)}
    if model.config.encoder_source and elsewhere <= missing:
        _put_encoder(model, folder, encoder or model.config.encoder_source)
        missing -= elsewhere
    elif encoder is not None:
        raise CheckpointError(f"the model in {folder} has its encoder in it: leave --encoder out.")
    wrong = [*missing, *report["unexpected_keys"]]
    wrong += [str(key) for key in report["mismatched_keys"]]
    if wrong:
        raise CheckpointError(
            f"the weights in {folder} don't belong to its config.json ({len(wrong)} differ, such "
            f"as {wrong[0]}). Use another checkpoint."
        )
    model.eval()
    return model


@contextmanager
def _unreported() -> Iterator[None]:
    """Without transformers' table of weights that a file lacks: what is wrong is said in words,
    and an encoder that is elsewhere isn't missing."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _cached_first(name: str) -> WhisperEncoder:
    """The encoder, from the cache where it is there: the checksum shows which one it is, and the
    hub, asked without a network, is asked for half a minute. Raises EncoderError."""
    with suppress(EncoderError):
        return load_encoder(name, offline=True)
    return load_encoder(name)


def _put_encoder(model: VoiceToNotesModel, folder: Path, name: str) -> None:
    """Put the encoder `name` where the model's own would be. Raises CheckpointError."""
    named = model.config.encoder_source
    try:
        encoder = _cached_first(name)
    except EncoderError as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(
            f"{folder} holds heads for the encoder of {named}, and {first}\nGive --encoder PATH of "
            "a folder with that Whisper in it: a checksum shows whether it is the same."
        ) from None
    found = checksum(encoder)
    if found != model.config.encoder_checksum:
        raise CheckpointError(
            f"{folder} holds heads for the encoder of {named}, and {name} has other weights than "
            "the heads were trained with (SHA-256 of them as half floats "
            f"{model.config.encoder_checksum[:12]}…, and here {found[:12]}…). The notes would mean "
            "nothing: give --encoder PATH of the one they were trained with, or train again."
        )
    model.encoder.load_state_dict(encoder.state_dict())

"""A folder of a model, perhaps a stranger's -> what speaks against loading it, in words.

Weights are read from safetensors and descriptions from JSON, which hold numbers and texts alone. A
pickle (.bin, .pt, .pth) is a program that its reader runs. What `--resume` needs is kept in such
files by transformers' Trainer; it reads tensors alone from them (`weights_only`).
"""

# mypy: allow-untyped-calls
# (transformers is typed in part only)

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, Final

import torch
from transformers.trainer_pt_utils import safe_globals

if TYPE_CHECKING:
    from pathlib import Path

ADAPTER: Final = "adapter_config.json"
_CODE: Final = (
    *("auto_map", "quantization_config", "trust_remote_code", "custom_pipelines"),
    *("kernels", "use_kernels", "kernel_config"),
)
_OWN_ATTENTION: Final = ("eager", "sdpa")  # torch's
_WEIGHTS: Final = ("model.safetensors", "model.safetensors.index.json")
_PICKLES: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_NO_WEIGHTS: Final = ("optimizer", "scheduler", "scaler", "rng_state", "training_args")
_STATE: Final = ("optimizer*.pt", "scheduler*.pt", "scaler*.pt", "rng_state*.pth")


def weights_problem(folder: Path) -> str:
    """Why no weights are loaded from it: a pickle is there, and no safetensors, or something there
    is no file, and would be waited for. "" for nothing."""
    for path in sorted(folder.glob("*")):
        if path.exists() and not (path.is_file() or path.is_dir()):
            return f"{path} is no file: remove it. Nothing was loaded"
    if any((folder / name).exists() for name in _WEIGHTS):
        return ""
    found = {path.name for kind in _PICKLES for path in folder.glob(kind)}
    pickles = sorted(name for name in found if not name.startswith(_NO_WEIGHTS))
    if not pickles:
        return ""
    return (
        f"the weights in {folder} are a pickle ({pickles[0]}): loading it would run whatever "
        "program its author put there. Nothing was loaded. Ask whoever made the model for "
        "model.safetensors, which holds numbers alone"
    )


def code_problem(described: Any) -> str:
    """Why a model with this config.json is not loaded: it names code of its own, or a kernel, which
    is a compiled program that transformers fetches. "" for none."""
    within = [described]
    while within:  # a recursion would end with a traceback where it is nested a thousand deep
        value = within.pop()
        if isinstance(value, list):
            within += value
        elif isinstance(value, dict):
            for key, inner in value.items():
                if (key in _CODE and inner) or _is_kernel(key, inner):
                    return f"its config.json asks for code from elsewhere ({key}), never run here"
            within += value.values()
    return ""


def adapter_problem(folder: Path) -> str:
    """Why a model with these files is not loaded: it is an adapter, which names another model to be
    loaded in its place, that nothing of this has looked at. "" for none."""
    if not (folder / ADAPTER).exists():
        return ""
    return f"it holds an adapter ({ADAPTER}), which would have another model loaded in its place"


def _is_kernel(key: str, value: Any) -> bool:
    """Whether the attention is another program's. Of flash_attention_2 and the like, too,
    transformers takes a kernel from the hub where the package is not installed."""
    if not key.endswith("attn_implementation"):
        return False
    asked = value.values() if isinstance(value, dict) else [value]
    return any(one and one not in _OWN_ATTENTION for one in asked)


def state_problem(folder: Path) -> str:
    """Why training is not resumed from the folder: its state can't be loaded, or holds more than
    tensors. "" for none."""
    if problem := weights_problem(folder):
        return problem
    for path in sorted(path for kind in _STATE for path in folder.glob(kind)):
        try:
            with safe_globals():
                torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        except pickle.UnpicklingError:  # torch's words tell how to run it all the same
            return (
                f"{path} holds more than numbers: loading it could run whatever program its author "
                "put there. Nothing was loaded. Resume from a checkpoint of your own, or start a "
                "new run from its model with --init"
            )
        except Exception as error:  # torch raises what it likes on a damaged file
            return (
                f"{path} is damaged ({type(error).__name__}). Resume from another checkpoint "
                "beside it"
            )
    return ""

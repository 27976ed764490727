"""What a training run was asked to do: the command line's flags, as one frozen value."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

ENCODER = "openai/whisper-base"

# Random-init Whisper encoders, by name: width, layers, heads, feed-forward, head and front-end
# widths. `dev` learns simple synthetic melodies in seconds, `small` is the two-core recipe's.
SCRATCH_SIZES = {
    "dev": {"width": 96, "layers": 2, "heads": 4, "ffn": 192, "head": 64, "salience": 8},
    "small": {"width": 144, "layers": 3, "heads": 4, "ffn": 432, "head": 96, "salience": 12},
}

SCRATCH_LR = 2e-3  # peak; a pretrained encoder would forget what it knows at this rate


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """One training run. Defaults are chosen for a pretrained Whisper on own recordings.

    scratch: a name in SCRATCH_SIZES for a random-init encoder, or None for `encoder`.
    synthetic: how many synthetic songs to train on, None for the songs of `voices_dir`.
    batch_size: segments a step and device. lr: peak learning rate. patience: validations without
    a better onset_pitch_f1 before training stops. max_samples: at most this many segments.
    corpus: the public set that `voices_dir` holds, by its name. augment: change recordings each
    time they are heard, unless their features are cached. longest: seconds of a segment.
    precision: auto, fp32, bf16 or fp16. workers: processes that load
    data, None for as many as suit the device.
    """

    fast_dev: bool = False
    offline: bool = False
    scratch: str | None = None
    encoder: str = ENCODER
    freeze_encoder: bool = False
    unfreeze_layers: int = 0
    synthetic: int | None = None
    voices_dir: str | None = None
    notes_dir: str | None = None
    corpus: str | None = None
    augment: bool = True
    cache_features: str | None = None
    max_samples: int | None = None
    longest: float = 30.0
    batch_size: int = 8
    grad_accum_steps: int = 1
    lr: float = 1e-4
    weight_decay: float = 0.01
    epochs: int = 30
    patience: int = 10
    seed: int = 42
    device: str = "auto"
    precision: str = "auto"
    compile: bool = False
    workers: int | None = None
    checkpoint_dir: str = "checkpoints"

    def as_config(self) -> dict[str, Any]:
        """All of it, for the record log and the checkpoint."""
        return asdict(self)


FAST_DEV = {
    "scratch": "dev",
    "synthetic": 16,
    "longest": 5.0,
    "batch_size": 8,
    "lr": SCRATCH_LR,
    "epochs": 12,
    "patience": 12,
    "device": "cpu",
}

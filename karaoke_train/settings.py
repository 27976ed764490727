"""What a training run was asked to do: the command line's flags, as two frozen values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ENCODER = "openai/whisper-base"
MODEL = "small"  # the package's own, when no other is asked for

# Random-init Whisper encoders, by name: width, layers, heads, feed-forward, head and front-end
# widths. `dev` learns simple synthetic melodies in seconds, `small` is the two-core recipe's.
SCRATCH_SIZES = {
    "dev": {"width": 96, "layers": 2, "heads": 4, "ffn": 192, "head": 64, "salience": 8},
    "small": {"width": 144, "layers": 3, "heads": 4, "ffn": 432, "head": 96, "salience": 12},
}

# Peak learning rates: of all of a random-init model, of all of a trained one (`init`), and of a
# pretrained encoder, which forgets what it knows at the rate that the new heads around it need
SCRATCH_LR = 2e-3
INIT_LR = 1e-4
ENCODER_LR = 1e-4


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """One training run. Defaults are chosen for a pretrained Whisper on own recordings.

    init: a model to start from, by its name or folder; None for a new one, around a random-init
    encoder (`from_scratch`, a name in SCRATCH_SIZES) or else around `encoder`.
    encoder: a Whisper, None for ENCODER; with `init` where the one is that the model names, None
    for where it says.
    adapter_width: channels of an adapter behind each layer of an encoder that stays frozen.
    full_checkpoint: keep a frozen encoder's weights in the model, too, not its name alone.
    synthetic: how many synthetic songs to train on, None for the songs of `voices_dir`.
    batch_size: segments per step and device. lr: peak learning rate. encoder_lr: the same of the
    encoder's own weights; None for `lr`, and for ENCODER_LR at most of a pretrained one around
    which all else is new. patience: validations without a better onset_pitch_f1 before training
    stops. max_samples: at most this many segments. corpus: the public set that `voices_dir` holds,
    by its name. pseudo_label: a folder of recordings to train on by a model's own notes, beside the
    others. augment: change recordings each time they are heard, unless their features are cached.
    max_segment_seconds: 1 to 30, the flag --longest. precision: auto, fp32, bf16 or fp16.
    workers: processes that load data, None for as many as suit the device.
    """

    fast_dev: bool = False
    offline: bool = False
    init: str | None = None
    from_scratch: str | None = None
    encoder: str | None = None
    freeze_encoder: bool = False
    unfreeze_layers: int = 0
    adapter_width: int = 0
    full_checkpoint: bool = False
    synthetic: int | None = None
    voices_dir: str | None = None
    notes_dir: str | None = None
    corpus: str | None = None
    pseudo_label: str | None = None
    augment: bool = True
    cache_features: str | None = None
    max_samples: int | None = None
    max_segment_seconds: float = 30.0
    batch_size: int = 8
    grad_accum_steps: int = 1
    lr: float = 1e-3
    encoder_lr: float | None = None
    weight_decay: float = 0.01
    epochs: int = 30
    patience: int = 10
    seed: int = 42
    device: str = "auto"
    precision: str = "auto"
    compile: bool = False
    workers: int | None = None
    checkpoint_dir: str = "checkpoints"

    @property
    def encoder_rate(self) -> float:
        """The peak learning rate of the encoder's own weights, as far as they are trained."""
        if self.encoder_lr is not None:
            return self.encoder_lr
        is_pretrained = self.init is None and self.from_scratch is None
        return min(self.lr, ENCODER_LR) if is_pretrained else self.lr

    def as_config(self) -> dict[str, Any]:
        """All of it, for the record log and the checkpoint."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """Where a run is logged, under which names, and who uploads it.

    no_wandb: the run is marked as never to be uploaded. no_system_metrics: what the machine is busy
    with is not logged. sync_timeout: seconds to wait at the end for an upload beside the training.
    local: a dashboard on this machine is open while it runs, and with no_open no browser is opened
    for it. wandb_tags: separated by commas, as in WANDB_TAGS.
    """

    log_dir: str = "logs"
    wandb_project: str = "voice-to-notes"
    run_name: str | None = None
    wandb_tags: str = ""
    wandb_group: str = ""
    wandb_job_type: str = ""
    wandb_notes: str = ""
    no_wandb: bool = False
    no_system_metrics: bool = False
    sync_timeout: float = 30.0
    local: bool = False
    no_open: bool = False

    @property
    def labels(self) -> dict[str, Any]:
        """What people sort runs by on wandb, as `RunLog.create` takes it."""
        return {
            "tags": [tag for part in self.wandb_tags.split(",") if (tag := part.strip())],
            "group": self.wandb_group,
            "job_type": self.wandb_job_type,
            "notes": self.wandb_notes,
        }


FAST_DEV = {
    "from_scratch": "dev",
    "synthetic": 16,
    "max_segment_seconds": 5.0,
    "batch_size": 8,
    "lr": SCRATCH_LR,
    "epochs": 12,
    "patience": 12,
    "device": "cpu",
}

# Names that runs before 0.2.0 saved in their checkpoints -> those of today.
_RENAMED = {"scratch": "from_scratch", "longest": "max_segment_seconds"}


def renamed(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Flags that a run of any version saved, under the names of today."""
    return {_RENAMED.get(name, name): value for name, value in flags.items()}

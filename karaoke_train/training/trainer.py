"""transformers' Trainer with our batches and our metrics; the loop itself is unchanged."""

from __future__ import annotations

import shutil
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import gather_object
from transformers import Trainer

from karaoke_train.dataset.batches import BucketSampler, SegmentDataset
from karaoke_train.inference.metrics import Counts, count_notes, count_pitches, total
from karaoke_train.model.checkpoints import ENCODER
from karaoke_train.model.decode import decode, frame_pitch
from karaoke_train.model.model import unpack_posteriors
from karaoke_train.model.resumable import RUN_FILE
from karaoke_train.notes import Note
from karaoke_train.training.spared import UNWRITABLE, spared

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

    from torch.utils.data import DataLoader
    from transformers.trainer_utils import EvalLoopOutput

    from karaoke_train.audio.features import FeatureSettings
    from karaoke_train.training.encoded import EncodedCache

Group = dict[str, Any]  # of an optimizer: parameters, their rate and the rest


@dataclass(frozen=True)
class Shown:
    """A validated segment to draw. spectrogram: float32 (frequency bins, frames)."""

    spectrogram: np.ndarray
    reference: tuple[Note, ...]
    predicted: tuple[Note, ...]


class NoteTrainer(Trainer):
    """A Trainer whose `train` logs carry note metrics and whose validation compares notes.

    Counts are summed over ranks; a segment that the distributed sampler doubled counts once.
    """

    def __init__(
        self,
        *args: Any,
        features: FeatureSettings,
        encoder_lr: float,
        cache: EncodedCache | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        # The loss is a mean over its batch: the Trainer must divide it by the accumulated steps.
        self.model_accepts_loss_kwargs = False
        self.features = features
        self.encoder_lr = encoder_lr
        self.cache = cache
        self.shown: Shown | None = None
        self._train_counts = Counts()
        self._val_counts: dict[int, Counts] = {}
        self._unsaved: Exception | None = None

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The Trainer's own, in which the encoder may have a rate of its own."""
        is_new = self.optimizer is None
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if is_new and self.encoder_lr != self.args.learning_rate:
            whole: Any = self.model if model is None else model
            own = {id(p) for name, p in whole.named_parameters() if ENCODER in name}
            optimizer.param_groups = with_rate(optimizer.param_groups, own, self.encoder_lr)
        return optimizer

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The model's loss; the pitch metrics of a training batch are counted as well."""
        batch = {k: v for k, v in inputs.items() if k not in ("index", "notes")}
        if self.cache is not None:
            whole = self.accelerator.unwrap_model(model)
            batch["encoded"] = self.cache.encoded(whole, batch, inputs["index"])
        outputs = model(**batch)
        if model.training:
            pitch = outputs.pitch.detach().float().softmax(-1).cpu().numpy()
            for row, notes in enumerate(unpack_notes(inputs["notes"])):
                length = int(inputs["lengths"][row])
                frames = frame_pitch(pitch[row, :length], self.features)
                self._train_counts += count_pitches(frames, notes)
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    def prediction_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor, None, None]:
        """The loss; the notes are compared here and only their counts are kept."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
        lengths = [int(length) for length in inputs["lengths"]]
        references = unpack_notes(inputs["notes"])
        for row, posteriors in enumerate(unpack_posteriors(outputs, lengths)):
            index = int(inputs["index"][row])
            predicted = decode(posteriors, self.features)
            frames = frame_pitch(posteriors.pitch, self.features)
            self._val_counts[index] = count_notes(references[row], predicted) + count_pitches(
                frames, references[row]
            )
            if index == 0:
                spectrogram = inputs["log_frequency"][row, :, : lengths[row]].float().cpu().numpy()
                self.shown = Shown(spectrogram, references[row], tuple(predicted))
        return loss.detach(), None, None

    def evaluation_loop(
        self,
        dataloader: DataLoader[Any],
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """The Trainer's own loop, with the note metrics of all ranks added."""
        self._val_counts = {}
        output = super().evaluation_loop(
            dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
        )
        counted = total(dict(gather_object(list(self._val_counts.items()))).values())
        metrics = {**counted.pitch_metrics(), **counted.note_metrics()}
        assert output.metrics is not None
        output.metrics.update({f"{metric_key_prefix}_{k}": v for k, v in metrics.items()})
        output.metrics.pop(f"{metric_key_prefix}_model_preparation_time", None)
        return output

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """The Trainer's own log; train logs get the note metrics since the last one. How fast it
        was, and other totals, are not logged."""
        if "total_flos" in logs:
            return
        if "loss" in logs:
            mine = torch.tensor(astuple(self._train_counts), device=self.args.device)
            summed = self.accelerator.reduce(mine, reduction="sum")
            logs.update(Counts(*(int(n) for n in summed.tolist())).pitch_metrics())
            self._train_counts = Counts()
        for speed in ("eval_runtime", "eval_samples_per_second", "eval_steps_per_second"):
            logs.pop(speed, None)
        super().log(logs, start_time)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The Trainer's own. Of a checkpoint that can't be written, rank 0 says so when it has met
        the others, who would wait for it for ever."""
        try:
            super().save_model(output_dir, _internal_call)
        except UNWRITABLE as error:
            if not _internal_call:
                raise
            self._unsaved = error

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """The Trainer's own. One that can't be written, by any rank, is left out on all."""
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        whole = False
        self._unsaved = None
        with spared(folder):
            if self.is_world_process_zero():
                # Written over file by file, after a resume from an older one: no longer whole
                (folder / RUN_FILE).unlink(missing_ok=True)
            super()._save_checkpoint(model, trial)
            if self._unsaved is not None:
                raise self._unsaved
            whole = True
        if not all(gather_object([whole])) and self.is_world_process_zero():
            shutil.rmtree(folder, ignore_errors=True)

    def _get_train_sampler(self, train_dataset: Any = None) -> BucketSampler:
        """Batches of similar length; the training sets the sampler's epoch, on every rank."""
        dataset = train_dataset if train_dataset is not None else self.train_dataset
        assert isinstance(dataset, SegmentDataset)
        self.bucket_sampler = BucketSampler(
            dataset.lengths, self.args.train_batch_size, self.args.seed
        )
        return self.bucket_sampler


def with_rate(groups: Sequence[Group], own: Set[int], lr: float) -> list[Group]:
    """An optimizer's groups of parameters, and behind them those whose `id` is in `own`, with a
    learning rate of their own. The first group's is the one that is logged."""
    others = [{**g, "params": [p for p in g["params"] if id(p) not in own]} for g in groups]
    apart = [{**g, "params": [p for p in g["params"] if id(p) in own], "lr": lr} for g in groups]
    return [group for group in (*others, *apart) if group["params"]]


def unpack_notes(table: torch.Tensor) -> list[tuple[Note, ...]]:
    """The notes of each row of a batch, from `collate`'s padded table (batch, most notes, 3)."""
    return [
        tuple(Note(*(float(x) for x in cell)) for cell in row if cell[1] > 0)
        for row in table.cpu().numpy()
    ]

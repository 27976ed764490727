"""`report_to="karaoke_train"` for transformers, beside "wandb" and "tensorboard"."""

# mypy: disable-error-code="attr-defined"
# (transformers is typed in part only)

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from transformers.integrations import INTEGRATION_TO_CALLBACK

from karaoke_train.runlog import RunLog
from karaoke_train.training.runlog_callback import RunLogCallback

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments


def register(name: str = "karaoke_train", **options: Any) -> None:
    """Let TrainingArguments take `report_to=name`. To be called before the Trainer is made.

    options: what `RunLog.create` takes, such as `folder` and `project`; the run is named by
    TrainingArguments' `run_name` unless they say otherwise. A Trainer has one run, and one per
    trial of a hyperparameter search.
    """
    # A dictionary is all that transformers has for this; its own callbacks stand in it
    INTEGRATION_TO_CALLBACK[name] = type("ReportedRunLog", (_Reported,), {"options": options})


class _Reported(RunLogCallback):
    """A RunLogCallback that starts its run by itself, once there is something to write."""

    options: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        super().__init__(None)
        self._run_name: str | None = None

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The run's name, which not every later event tells."""
        self._run_name = args.run_name

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        **kwargs: Any,
    ) -> None:
        """The first training's run, or a trial's."""
        if state.is_hyper_param_search:
            self.log, self._run_name = None, state.trial_name
        super().on_train_begin(args, state, control, model, **kwargs)

    def _writing(self, state: TrainerState) -> RunLog | None:
        if self.log is None and state.is_world_process_zero:
            self.log = RunLog.create(**{"run_name": self._run_name, **self.options})
        return super()._writing(state)

"""The fields of each record type, with units and ranges: told once, for tests and the docs.

No program imports this when it runs: it would be a tenth of what `import karaoke_train` costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from karaoke_train.runlog.record_types import SCHEMA, RecordType


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record. A name that ends in `*` stands for every name that begins so."""

    name: str
    holds: str  # JSON type, unit, range
    meaning: str


@dataclass(frozen=True, slots=True)
class RecordSpec:
    """When a record of a type is written, and its fields beside `type`."""

    when: str
    fields: tuple[Field, ...]


_TIMESTAMP: Final = Field("timestamp", "ISO 8601 text, ms, with offset", "when it was logged")
_STEP: Final = Field("step", "integer", "the trainer's global step, counted as the trainer does")
_EPOCH: Final = Field("epoch", "number", "epochs done, with fractions within an epoch")

SPECS: Final[Mapping[RecordType, RecordSpec]] = {
    RecordType.CONFIG: RecordSpec(
        "as a file's first line, and again each time the run is resumed, goes on after its end, or "
        "has a config that grew",
        (
            Field("schema", "integer", f"version of this format: {SCHEMA}"),
            Field(
                "run_id",
                "text: 1 to 64 letters, digits, `-`, `_`; a letter or digit first",
                "the run's id, here and at the server; a first line without one is refused",
            ),
            Field(
                "part",
                "text",
                "this file's own id: a run that is started again elsewhere is in several files",
            ),
            Field("run_name", "text", "the run's name for people; `run_id` where it is missing"),
            Field(
                "project",
                "text",
                "the project that the run belongs to at the server; named by the folder where it "
                "is missing",
            ),
            Field("tags", "list of texts, 1 to 64 characters each", "only where given"),
            Field("group", "text", "the group of runs that this one belongs to; only where given"),
            Field("job_type", "text", "its kind within the group; only where given"),
            Field(
                "allow_config_keys",
                "list of texts",
                "names or patterns in the config that are no secrets, though they look like some; "
                "only where given",
            ),
            Field("notes", "text", "what people wrote about the run; only where given"),
            Field("created", "ISO 8601 text, ms, with offset", "when this writer began"),
            Field("config", "object", "the run's settings, hyperparameters and the like"),
            Field("upload", "boolean", "false: stays here until somebody uploads it by name"),
            Field("host", "text", "the writer's host name"),
            Field("pid", "integer", "the writer's process id"),
            Field("git", "object", "`commit`, `branch`, and `dirty` where files were changed"),
            Field("argv", "list of texts", "the command line, secrets hidden as `***`"),
            Field("lock", "`flock`, `lease` or `none`", "which kind of lock the writer holds"),
            Field(
                "attempt",
                "integer from 1",
                "counts the starts in this file: as before where the same process goes on, "
                "one more than before where missing",
            ),
            Field("resumed", "true", "there only where the run is resumed"),
            Field(
                "resumed_from_step",
                "integer",
                "the trainer's step that it goes on from, where known: later ones come again",
            ),
        ),
    ),
    RecordType.TRAIN: RecordSpec(
        "at each logging step",
        (
            _TIMESTAMP,
            _STEP,
            _EPOCH,
            Field("train/*", "number, or any JSON", "metrics, such as `train/loss`"),
        ),
    ),
    RecordType.VAL: RecordSpec(
        "at each validation",
        (
            _TIMESTAMP,
            _STEP,
            _EPOCH,
            Field("val/*", "number, or any JSON", "metrics, such as `val/loss`"),
        ),
    ),
    RecordType.EPOCH_SUMMARY: RecordSpec(
        "at each epoch's end",
        (
            _TIMESTAMP,
            Field("epoch", "number", "the epoch, counted as the trainer does"),
            Field("train_loss", "number or null", "training loss over the epoch"),
            Field("val_loss", "number or null", "validation loss after it"),
            Field("train_metrics", "object", "further training metrics by name"),
            Field("val_metrics", "object", "further validation metrics by name"),
        ),
    ),
    RecordType.MEDIA: RecordSpec(
        "when a picture or sound is added",
        (
            _TIMESTAMP,
            _STEP,
            Field("key", "text", "the metric name under which it is shown"),
            Field("path", "text", "its file, relative to `media/<run_id>/` beside the log"),
            Field("kind", "`image` or `audio`", "how it is shown"),
            Field("caption", "text", "a line below it, or nothing"),
        ),
    ),
    RecordType.SYSTEM: RecordSpec(
        "every 15 seconds, where system metrics are asked for",
        (
            _TIMESTAMP,
            Field(
                "system/*",
                "number",
                "of the trainer's machine: `cpu_percent`, `memory_percent`, `disk_percent`, "
                "`process_cpu_percent` (100 per core), `process_memory_mb`, "
                "`disk_read_mb_per_s`, `network_sent_mb_per_s`, `gpu0/percent`, …",
            ),
        ),
    ),
    RecordType.END: RecordSpec(
        "when the run ends; a writer that was killed leaves none",
        (
            _TIMESTAMP,
            Field("status", "`finished`, `failed` or `interrupted`", "how it ended"),
            Field("exit_code", "integer", "0, 1 or 130 unless the program said otherwise"),
        ),
    ),
}

"""The same record log through both lanes to one stand-in, and what the two runs differ in.

`NAMED` is the one place for what may differ; everything else is a mistake.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from karaoke_train.runlog.format import BadRecord, RunHeader, decode
from karaoke_train.runlog.reader import Line, Position
from karaoke_train.runlog.record_types import RecordType
from syncd.destination.base import Target, Uploader
from syncd.destination.rows import attempt_at
from syncd.source.lines import Lines
from syncd.source.media_folder import MediaFolder
from syncd.sync.outcome import CRASHED, outcome_in
from tests.fakes.wandb_state import RunKey
from tests.patience import patience

if TYPE_CHECKING:
    from tests.fakes.wandb_server import WandbServer

ENTITY: Final = "team"
ARTIFACT: Final = re.compile(r"^artifact-.*", re.DOTALL)  # its files, under names made up each time

# What differs between the lanes, and why. A path's `*` is any one part of it.
NAMED: Final = {
    "history/*/_runtime": "the SDK's is the upload's clock; ours is the run's",
    "summary/_runtime": "likewise",
    "summary/_wandb": "its runtime likewise",
    "config/_wandb/t": "telemetry: which features of which SDK were used",
    "config/_wandb/cli_version": "no SDK of that version wrote the run",
    "config/_wandb/e": "the SDK's own description of the machine that uploads",
    "fields/host": "likewise",
    "files/wandb-summary.json/_runtime": "likewise",
    "files/wandb-summary.json/_wandb": "likewise",
    "files/config.yaml": "the config once more, as a file that nothing reads",
    "uploaded/config.yaml": "likewise",
    "files/wandb-metadata.json": "the machine that uploads, which is not the trainer's",
    "summary/epoch_summaries/artifact_path": "no artifact behind the epoch table",
    "summary/epoch_summaries/_latest_artifact_path": "likewise",
    "files/wandb-summary.json/epoch_summaries/artifact_path": "likewise",
    "files/wandb-summary.json/epoch_summaries/_latest_artifact_path": "likewise",
    "files/artifact": "likewise",
    "artifacts": "likewise",
}


# In the summary of a run that several sessions brought, the direct lane may have more: on resuming,
# the SDK forgets values that are not finite, and what was logged of an object that then grows.
SUMMARIES: Final = ("summary/", "files/wandb-summary.json/")


@dataclass(frozen=True)
class Log:
    """A record log as bytes. sessions: where a session ends, in lines; media: what its records
    refer to."""

    data: bytes
    media: Path
    sessions: Sequence[int] = field(default=())

    @property
    def header(self) -> RunHeader:
        return RunHeader.of(decode(self.data.partition(b"\n")[0]))

    def upload(self, lane: Lane) -> None:
        """Through a lane, to the run's end."""
        lines = Lines.of(self.data, Position())
        stops = [*self.sessions, len(lines)]
        attempt, special = 1, list[Line]()
        for begin, stop in zip([0, *stops], stops, strict=False):
            part = _between(lines, begin, stop)
            uploader = lane.uploader(self.target(lane, begin, attempt))
            try:
                assert uploader.open() == begin
                special += uploader.send(part)
                uploader.bring()
                _confirmed(uploader, stop)
                self._close(uploader, special, whole=stop == len(lines))
            finally:
                uploader.abandon()
            for line in part:
                attempt = attempt_at(line, attempt)

    def first(self, lines: int) -> Log:
        """The log while it has so many lines."""
        return replace(self, data=Lines.of(self.data, Position()).first(lines).data)

    def target(self, lane: Lane, begin: int, attempt: int = 1) -> Target:
        """The run there, for a session that begins with line `begin`."""
        return Target(
            self._header_at(begin), ENTITY, lane.project, MediaFolder(self.media),
            known=True, confirmed=begin, attempt=attempt,
        )  # fmt: skip

    def _header_at(self, line: int) -> RunHeader:
        """As a session that begins there is told it: with the newest config before."""
        newest = self.header
        for found in _between(Lines.of(self.data, Position()), 0, line):
            with suppress(BadRecord):
                newest = RunHeader.of(found.record or {})
        labels = {name: getattr(newest, name) for name in ("tags", "group", "job_type", "notes")}
        return self.header._replace(config=newest.config, trainer=newest.trainer, **labels)

    def _close(self, uploader: Uploader, special: list[Line], *, whole: bool) -> None:
        if not whole:
            uploader.close(None, ())
            return
        records = [line.record for line in special if line.record]
        epochs = [one for one in records if RecordType.of(one) is RecordType.EPOCH_SUMMARY]
        media = [
            line for line in special
            if line.record and RecordType.of(line.record) is RecordType.MEDIA
        ]  # fmt: skip
        uploader.close(outcome_in(special[-1].record) or CRASHED, epochs, media)


class Lane:
    """A way to the server, and the project that its runs are in."""

    project: str

    def uploader(self, target: Target) -> Uploader:
        raise NotImplementedError


def _between(lines: Lines, begin: int, stop: int) -> Lines:
    start = lines.start_of(begin)
    rest = Lines.of(lines.data[start.offset :], start)
    return rest.first(stop - begin)


def _confirmed(uploader: Uploader, count: int) -> None:
    deadline = time.monotonic() + patience(20)
    while (there := uploader.confirm()) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    assert there == count


def run_at(server: WandbServer, project: str, run_id: str) -> dict[str, Any]:
    """All that the server has of the run, its files with what they hold."""
    key = RunKey(ENTITY, project, run_id)
    run: dict[str, Any] = deepcopy(server.dump()[ENTITY][project][run_id])
    assert (run["errors"], run["gaps"], run["overwrites"]) == ([], [], [])
    files = {name: _content(server.store.get_file(key, name)) for name in run["files"]}
    run["files"] = {ARTIFACT.sub("artifact", name): data for name, data in files.items()}
    run["uploaded"] = dict.fromkeys(run["uploaded"], True)
    own = run["config"].get("_wandb", {})
    own["m"] = _definitions(own.get("m", []))
    if not run["fields"].get("tags"):  # a resumed run's, which it has from the server: none
        run["fields"].pop("tags", None)
    for unstable in ("created_at", "heartbeat_at", "rewrites", "cursors"):
        del run[unstable]
    return run


def _content(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data


def _definitions(metrics: list[dict[str, Any]]) -> dict[str, Any]:
    """By name, each with its axis by name: their places in the list mean nothing."""
    names = [metric.get("1") or metric.get("2") for metric in metrics]
    return {
        str(names[place]): {**metric, **({"5": names[metric["5"] - 1]} if "5" in metric else {})}
        for place, metric in enumerate(metrics)
    }


def differences(sdk: Any, direct: Any, *, resumed: bool = False) -> list[str]:
    """Every difference that is not named."""
    return [
        str(found)
        for found in _differences(sdk, direct, "")
        if not (resumed and found.sdk is _NOTHING and found.at.startswith(SUMMARIES))
    ]


@dataclass(frozen=True)
class _Difference:
    at: str
    sdk: Any
    direct: Any

    def __str__(self) -> str:
        return f"{self.at}: SDK {self.sdk!r:.200}, direct {self.direct!r:.200}"


def _differences(sdk: Any, direct: Any, at: str) -> Iterator[_Difference]:
    if _is_named(at):
        return
    if isinstance(sdk, Mapping) and isinstance(direct, Mapping):
        for key in sorted({*sdk, *direct}):
            one, other = sdk.get(key, _NOTHING), direct.get(key, _NOTHING)
            yield from _differences(one, other, f"{at}/{key}" if at else key)
    elif isinstance(sdk, list) and isinstance(direct, list) and len(sdk) == len(direct):
        for place, (one, other) in enumerate(zip(sdk, direct, strict=True)):
            yield from _differences(one, other, f"{at}/{place}")
    elif not _same(sdk, direct):
        yield _Difference(at, sdk, direct)


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


_NOTHING = _Nothing()


def _is_named(at: str) -> bool:
    parts = at.split("/")
    return any(
        len(name.split("/")) == len(parts)
        and all(want in ("*", part) for want, part in zip(name.split("/"), parts, strict=True))
        for name in NAMED
    )


def _same(one: Any, other: Any) -> bool:
    if type(one) is bool or type(other) is bool:
        return one is other
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return bool(one == other)

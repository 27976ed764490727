"""W&B as a Destination: two lanes for lines (see `lanes`), questions over GraphQL.

Nothing of it is imported before it is used: `status` asks for the identity alone, and must not
wait for what brings urllib3 along.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from syncd.destination.base import (
    Account,
    Finding,
    Identity,
    Labels,
    RemoteRun,
    Row,
    RunRef,
    Target,
    Uploader,
)
from syncd.destination.wandb.credentials import DEFAULT_URL, Login, login_remedy
from syncd.destination.wandb.lanes import Lane, Lanes
from syncd.settings import Limits

if TYPE_CHECKING:
    from syncd.destination.wandb.api import Api
    from syncd.destination.wandb.filestream import FileStream
    from syncd.destination.wandb.heartbeats import Heartbeats
    from syncd.destination.wandb.history import Patience
    from syncd.destination.wandb.last_sessions import LastSessions
    from syncd.destination.wandb.pace import Pace
    from syncd.destination.wandb.sdk import WandbSdk
    from syncd.destination.wandb.worker_pool import WorkerPool

APP: Final = "https://wandb.ai"  # where a browser sees what is at DEFAULT_URL


@lru_cache
def _quoted(name: str) -> str:
    return quote(name, safe="")


class WandbDestination:
    """See `syncd.destination.base.Destination`."""

    def __init__(
        self,
        login: Login,
        limits: Limits | None = None,
        *,
        lane: str = "auto",
        folder: Path | None = None,
        counts: bool = True,
    ) -> None:
        """lane: auto, direct or sdk. folder: where what is found out of the server is kept. counts:
        its count confirms lines, and not its answers, which the SDK doesn't hand on."""
        self._login = login
        self._limits = limits or Limits()
        self._lanes = Lanes(lane if counts else Lane.DIRECT, folder)
        self._counts = counts

    @property
    def identity(self) -> Identity:
        """What is known without asking."""
        login = self._login
        return Identity(
            kind="wandb",
            address=login.base_url,
            entity=login.entity,
            key_source=login.source,
            key_from_environment=login.source == "WANDB_API_KEY",
            login_remedy=login_remedy(login.base_url),
            warning=login.warning,
            key_digest=login.key_digest,
        )

    @property
    def max_sessions(self) -> int:
        """Uploaders that may be open at once."""
        direct = self._lanes.server is Lane.DIRECT
        return self._limits.open_streams if direct else self._limits.open_runs

    counts_at_once = False  # W&B's lags by seconds

    @property
    def counts(self) -> bool:
        """Whether its count confirms lines."""
        return self._counts

    @property
    def lane(self) -> str:
        """How lines go there, and why."""
        return self._lanes.words

    def account(self) -> Account:
        """Who we are there. Raises Unreachable or Refused."""
        return Account(self._api.viewer())

    def remote_run(self, run: RunRef) -> RemoteRun | None:
        """The run as the server has it. Raises Unreachable or Refused."""
        return self._api.remote_run(run)

    def heartbeat(self, run: RunRef) -> str:
        """When the server last heard of the run. Raises Unreachable or Refused."""
        return self._api.heartbeat(run)

    def uploader(self, target: Target) -> Uploader:
        """A session, not yet open."""
        direct = self._lanes.of(target.ref) is Lane.DIRECT
        return self._stream(target) if direct else self._sdk(target)

    def _stream(self, target: Target) -> FileStream:
        from syncd.destination.wandb.filestream import FileStream

        stream = FileStream(
            target,
            self._api,
            self._pace,
            self._lanes,
            counts=self._counts,
            count_stable_for=self._limits.count_stable_for,
            last=self._last_sessions,
        )
        self._heartbeats.keep(stream)
        return stream

    def _sdk(self, target: Target) -> WandbSdk:
        from syncd.destination.wandb.sdk import WandbSdk

        return WandbSdk(
            target,
            self._api,
            self._workers,
            request_timeout=self._limits.request_timeout,
            count_stable_for=self._limits.count_stable_for,
            last=self._last_sessions,
        )

    def pause(self, seconds: float) -> None:
        """Wait, or end with Unreachable."""
        self._api.http.pause(seconds)

    def steps(self, run: RunRef) -> int | None:
        """How many rows have a step. Raises Unreachable or Refused."""
        return self._api.steps(run)

    def rows(self, run: RunRef, start: int, stop: int) -> Sequence[Row]:
        """Some of the run's rows. Raises Unreachable or Refused."""
        return self._api.rows(run, start, stop)

    def label(self, run: RunRef, labels: Labels) -> bool:
        """Change the labels that are given. Raises Unreachable, Refused or RunRefused."""
        from syncd.destination.refusals import run_refused
        from syncd.destination.wandb.api import Rejected

        try:
            return self._api.label(run, labels)
        except Rejected as rejected:
            raise run_refused(str(rejected)) from None

    def mend(self, run: RunRef) -> None:
        """The run's next sessions are on the direct lane."""
        self._lanes.mend(run)

    def history(self, run: RunRef) -> Iterator[Row]:
        """The run's rows. Raises UploadError."""
        from syncd.destination.wandb.history import history

        closed, ask = self._api.http.closed, self._api.viewer
        return history(self._login, run, closed, ask, self._patience)

    def files(self, run: RunRef) -> Collection[str]:
        """What was uploaded of the run's files. Raises Unreachable or Refused."""
        return self._api.files(run)

    def url(self, run: RunRef) -> str:
        """The run's page."""
        app = APP if self._login.base_url == DEFAULT_URL else self._login.base_url
        entity, project = _quoted(run.entity), _quoted(run.project)
        return f"{app}/{entity}/{project}/runs/{run.run_id}"  # see RUN_ID: nothing to quote

    def checks(self) -> Iterator[Finding]:
        """For `doctor`."""
        from syncd.destination.wandb.checks import checks

        yield from checks(self._login, self._limits.request_timeout)
        yield Finding("lane", "warning" if self._lanes.odd else "ok", self._lanes.words)

    def close(self) -> None:
        """End all questions and sessions."""
        self._api.close()
        for made in ("_heartbeats", "_workers"):  # whatever was not used is not made for this
            if made in self.__dict__:
                getattr(self, made).close()

    @cached_property
    def _api(self) -> Api:
        from syncd.destination.wandb.api import Api

        return Api(self._login, self._limits.request_timeout)

    @cached_property
    def _patience(self) -> Patience:
        from syncd.destination.wandb.history import Patience

        return Patience()

    @cached_property
    def _last_sessions(self) -> LastSessions:
        from syncd.destination.wandb.last_sessions import LastSessions

        return LastSessions()

    @cached_property
    def _pace(self) -> Pace:
        from syncd.destination.wandb.pace import Pace

        return Pace()

    @cached_property
    def _heartbeats(self) -> Heartbeats:
        from syncd.destination.wandb.heartbeats import Heartbeats

        return Heartbeats()

    @cached_property
    def _workers(self) -> WorkerPool:
        from syncd.destination.wandb.worker_pool import MOST_MEMORY, WorkerPool

        # A sound is whole in a worker's memory, and in what is made of it
        return WorkerPool(MOST_MEMORY + 2 * self._limits.largest_media)

"""A server that says when to ask again is asked nothing before, whoever was told: a run's own
request that meets it first holds for the whole daemon."""

from __future__ import annotations

import itertools
from functools import partial

import pytest

from karaoke_train.runlog import RunLog
from syncd.errors import Exit
from syncd.report.status import exit_code
from tests.fakes.faults import Endpoint, Seen
from tests.fakes.wandb_server import WandbServer
from tests.faults.rig import LANES, Playing, Rig, by_lane, played, write
from tests.patience import until

SECONDS = 3.0  # far more than the daemon's own backoff (rig.FAST)
STATUSES = ("429", "503")


def told_to_wait(rig: Rig, status: str) -> None:
    """The count of what was just sent is refused, with a time; then the server is well again."""
    assert isinstance(rig.server, WandbServer)
    # what the daemon itself sends; with the SDK, the posts are those of wandb-core
    asked_at: Endpoint = "all" if rig.direct else "graphql"
    rig.start()
    with RunLog.create(rig.logs, project="songs") as log:
        write(log, 5)
        rig.await_all(log)
        rig.server.fault("status", endpoint=asked_at, status=int(status), retry_after=SECONDS)
        write(log, 5, start=5)
        until(lambda: len(refused(rig)) >= 3, "the daemon asks again")
        words = f"is in trouble (HTTP {status})"
        until(lambda: words in rig.status().connectivity_words, "status says so")
        assert exit_code(rig.status()) == Exit.OFFLINE
        asked = refused(rig)
        rig.server.clear()
    rig.await_end(log)
    rig.assert_same(log)
    assert asked[0].operation != "Viewer", "the run's own question was to meet it first"
    waits = [late.at - early.at for early, late in itertools.pairwise(asked)]
    assert min(waits) >= SECONDS


def refused(rig: Rig) -> list[Seen]:
    """What the daemon asked, and was told to wait for. wandb-core asks in its own time."""
    assert isinstance(rig.server, WandbServer)
    return [seen for seen in rig.server.requests() if seen.fault and seen.agent == "karaoke-syncd"]


SCENARIOS = {
    f"{status}, {lane}": by_lane(lane, partial(told_to_wait, status=status))
    for lane in LANES
    for status in STATUSES
}
# no question but a run's own for a while
under_way = played(SCENARIOS, PROBE_EVERY="600")


@pytest.mark.parametrize("case", SCENARIOS)
def test_nothing_is_asked_before_the_time_that_the_server_named(
    under_way: Playing, case: str
) -> None:
    under_way.result(case)

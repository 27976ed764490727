"""The documented rate limits, kept in simulated time."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest

from syncd.destination.wandb.pace import BYTES_PER_PROJECT, Pace
from tests.fakes.clock import FakeClock

DOCUMENTED_POSTS_PER_RUN, DOCUMENTED_POSTS, DOCUMENTED_BYTES = 2, 500, 120e6  # per second


def most_in_a_second(moments: list[tuple[float, float]]) -> float:
    """The most that any window of one second holds."""
    moments = sorted(moments)
    most, begin, held = 0.0, 0, 0.0
    for at, amount in moments:
        held += amount
        while moments[begin][0] <= at - 1.0:
            held -= moments[begin][1]
            begin += 1
        most = max(most, held)
    return most


@pytest.mark.parametrize(("runs", "size"), [(1, 100), (30, 4_000_000), (600, 2_000)])
def test_no_second_ever_holds_more_than_is_documented(runs: int, size: int) -> None:
    clock, chance = FakeClock(), random.Random(5)
    pace = Pace(clock)
    posts: dict[str, list[tuple[float, float]]] = defaultdict(list)
    sizes: list[tuple[float, float]] = []
    begun = clock()
    free_at = dict.fromkeys(range(runs), begun)
    while clock() < begun + 20:
        clock.advance(0.01)
        for run in [run for run, at in free_at.items() if at <= clock() and chance.random() < 0.5]:
            free_at[run] = at = clock() + pace.delay("p", str(run), size)
            posts[str(run)].append((at, 1.0))
            sizes.append((at, float(size)))
    # two at once and a third when the second is over: no window holds more
    assert max(map(most_in_a_second, posts.values())) <= DOCUMENTED_POSTS_PER_RUN + 1
    # the first burst, of full buckets, is over after two seconds
    late = [(at - begun, amount) for at, amount in sizes if at >= begun + 2]
    assert most_in_a_second([(at, 1.0) for at, _ in late]) <= DOCUMENTED_POSTS
    assert sum(amount for at, amount in late if 5 <= at < 15) / 10 <= DOCUMENTED_BYTES
    assert all(len(made) >= 1 for made in posts.values())
    assert len(posts) == runs


def test_a_post_larger_than_the_limit_waits_for_a_full_second_and_no_longer() -> None:
    clock = FakeClock()
    pace = Pace(clock)
    assert pace.delay("p", "large", 10 * int(BYTES_PER_PROJECT)) == 0.0
    assert pace.delay("p", "next", 1) > 9.0  # who comes behind it waits until it is paid for


def test_a_run_that_posts_on_and_on_is_never_forgotten_and_let_begin_with_two_again() -> None:
    clock = FakeClock()
    pace = Pace(clock)
    waits = []
    for _ in range(200):
        waits.append(pace.delay("p", "r", 10))
        clock.advance(waits[-1])
    assert waits == [0.0, 0.0, *[1.0] * 198]


def test_a_run_may_begin_with_two_and_goes_on_with_one_per_second() -> None:
    clock = FakeClock()
    pace = Pace(clock)
    assert [pace.delay("p", "r", 10) for _ in range(4)] == [0.0, 0.0, 1.0, 2.0]
    assert pace.wait_for("p", "r") == 3.0
    assert pace.wait_for("p", "another") == 0.0
    clock.advance(10)
    assert pace.wait_for("p", "r") == 0.0


def test_a_server_that_asks_for_less_slows_all_runs_of_the_project_and_no_other() -> None:
    clock = FakeClock()
    pace = Pace(clock)
    pace.slowed("p", 5.0)
    pace.slowed("p", 1.0)
    assert (pace.delay("p", "r", 1), pace.wait_for("p", "s")) == (5.0, 5.0)
    assert pace.delay("q", "r", 1) == 0.0
    clock.advance(5.0)
    assert pace.delay("p", "s", 1) == 0.0

"""How long an end that a late post may undo is looked at."""

from __future__ import annotations

from itertools import takewhile

from syncd.sync.late_posts import next_look


def test_the_server_is_asked_less_and_less_often_and_not_for_ever() -> None:
    ages, age = [], 0.0
    while look_in := next_look(age):
        age += look_in
        ages.append(age)
    assert ages == [30.0, 120.0, 480.0, 1920.0]


def test_who_looks_more_often_looks_no_longer() -> None:
    asked = takewhile(lambda age: next_look(age), range(0, 10_000, 10))
    assert max(asked) < 600

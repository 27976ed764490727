"""The list of a run's files comes in pages; what a server does wrong in paging ends in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from syncd.destination.base import RunRef
from syncd.destination.wandb.api import Api
from syncd.destination.wandb.credentials import Login
from syncd.errors import Unreachable
from tests.fakes.wandb_state import RunKey
from tests.patience import patience

if TYPE_CHECKING:
    from tests.fakes.wandb_graphql import Ask
    from tests.fakes.wandb_server import WandbServer

RUN = RunRef("tester", "songs", "r1")
PER_PAGE = 2  # of the stand-in


@pytest.fixture
def api(server: WandbServer) -> Iterator[Api]:
    made = Api(Login(server.url, "", server.key))
    yield made
    made.close()


def have(server: WandbServer, **sizes: int) -> None:
    """The run has these files, by name, of so many bytes."""
    key = RunKey(RUN.entity, RUN.project, RUN.run_id)
    server.store.upsert(key, {})
    server.store.runs[key].files.update(sizes)


def pages(server: WandbServer) -> int:
    """How many pages were asked for."""
    return server.counts().get("graphql:RunFiles", 0)


@pytest.mark.parametrize(("files", "asked"), [(0, 1), (1, 1), (2, 1), (3, 2), (4, 2), (7, 4)])
def test_the_files_of_all_pages_are_named_and_no_page_is_asked_for_twice(
    server: WandbServer, api: Api, files: int, asked: int
) -> None:
    names = {f"file{number}": 10 + number for number in range(files)}
    have(server, **names)
    assert api.files(RUN) == set(names)
    assert pages(server) == asked == max(1, -(-files // PER_PAGE))


def test_a_file_that_was_announced_and_never_came_is_none(server: WandbServer, api: Api) -> None:
    have(server, a=1, b=0, c=0, d=2, e=0)
    assert api.files(RUN) == {"a", "d"}


def answer_with(server: WandbServer, page: Callable[[Ask], dict[str, Any]]) -> None:
    """The server says this of the run's files, whatever it has."""
    server.graphql._operations["RunFiles"] = lambda ask: {
        "project": {"run": {"files": found} if (found := page(ask)) else None}
    }


def node(name: str) -> dict[str, Any]:
    return {"node": {"name": name, "sizeBytes": 3}, "cursor": name}


def test_a_run_that_is_not_there_has_no_files(server: WandbServer, api: Api) -> None:
    answer_with(server, lambda ask: {})
    assert api.files(RUN) == set()


def test_an_empty_page_is_the_last_one_though_it_promises_more(
    server: WandbServer, api: Api
) -> None:
    def page(ask: Ask) -> dict[str, Any]:
        edges = [] if ask.get("fileCursor") else [node("a")]
        return {"edges": edges, "pageInfo": {"endCursor": "1", "hasNextPage": True}}

    answer_with(server, page)
    assert api.files(RUN) == {"a"}
    assert pages(server) == 2


@pytest.mark.timeout(patience(10))  # it would ask for ever
def test_a_page_that_leads_to_itself_is_asked_for_no_third_time(
    server: WandbServer, api: Api
) -> None:
    answer_with(
        server,
        lambda ask: {"edges": [node("a")], "pageInfo": {"endCursor": "1", "hasNextPage": True}},
    )
    with pytest.raises(Unreachable, match=r"not a W&B server .*its list of files does not end"):
        api.files(RUN)
    assert pages(server) == 2


def test_a_page_without_a_place_to_go_on_from_is_no_w_and_b(server: WandbServer, api: Api) -> None:
    numbers = count()
    answer_with(
        server,
        lambda ask: {"edges": [node(f"{next(numbers)}")], "pageInfo": {"hasNextPage": True}},
    )
    with pytest.raises(Unreachable, match="not a W&B server"):
        api.files(RUN)
    assert pages(server) <= 2


@pytest.mark.timeout(patience(10))  # it would ask for ever
@pytest.mark.parametrize("names", ["the same ones", "new ones"])
def test_pages_without_an_end_that_lead_ever_on_are_no_list(
    server: WandbServer, api: Api, monkeypatch: pytest.MonkeyPatch, names: str
) -> None:
    monkeypatch.setattr("syncd.destination.wandb.api.MOST_FILES", 5)
    numbers = count()

    def page(ask: Ask) -> dict[str, Any]:
        place = next(numbers)
        name = "a" if names == "the same ones" else f"{place}"
        return {"edges": [node(name)], "pageInfo": {"endCursor": place, "hasNextPage": True}}

    answer_with(server, page)
    with pytest.raises(Unreachable, match=r"its list of files does not end"):
        api.files(RUN)

"""Anything in place of what programs expect: `make fuzz` tries it at length, the suite a little.

What is found becomes a small file in tests/corpus and a test beside what it is about.
"""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st

from tests.corpus import ODD

TEXTS: Final = st.text(st.characters(codec="utf-8"), max_size=12)
SCALARS: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    TEXTS,
    st.sampled_from(ODD),
)
JSON: Final[st.SearchStrategy[Any]] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def mutated(document: Any) -> st.SearchStrategy[Any]:
    """The document with values at any depth replaced by any JSON, and keys left out or added."""
    if isinstance(document, dict):
        return st.one_of(
            st.fixed_dictionaries(
                {}, optional={key: mutated(value) for key, value in document.items()}
            ),
            st.fixed_dictionaries({key: mutated(value) for key, value in document.items()}),
            JSON,
        )
    if isinstance(document, list) and document:
        return st.lists(st.one_of(*map(mutated, document)), max_size=3) | JSON
    return st.just(document) | JSON

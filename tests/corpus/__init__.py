"""Small files that once did harm, or might: tests and `make fuzz` begin with them.

json/         documents of any shape, in place of a state file or a server's answer
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent
# In place of any value: of another type, out of every range, or no text that can be written
ODD: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 10**30, 1.5, "", "x", "[/b]", "\x1b[2J", "9" * 400, "../../x", [], [[]],
    {}, {"a": {}}, "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "NaN",
)  # fmt: skip


def files(kind: str) -> list[Path]:
    """The corpus files of a kind, by name."""
    return sorted((FOLDER / kind).iterdir())


def one_value_replaced(document: Any) -> list[Any]:
    """The document with each of its values, at any depth, replaced by each odd one in turn, and
    with each key left out."""
    found = list(ODD)
    if isinstance(document, dict):
        found += [{k: v for k, v in document.items() if k != key} for key in document]
        for key, value in document.items():
            found += [{**document, key: other} for other in one_value_replaced(value)]
    elif isinstance(document, list) and document:
        found += [[other, *document[1:]] for other in one_value_replaced(document[0])]
    return found

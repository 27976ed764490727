"""Values that JSON lacks -> what they are written as; no library whose values they are is imported
for it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from types import SimpleNamespace
from typing import Any


def fields_of(value: object) -> Mapping[str, Any] | None:
    """The fields of a mapping, a dataclass, a pydantic model or a namespace; None of all else."""
    if isinstance(value, Mapping):
        return value
    kind = type(value)
    if names := getattr(kind, "__dataclass_fields__", None):
        return {name: getattr(value, name) for name in names if hasattr(value, name)}
    argparse = sys.modules.get("argparse")
    if (
        isinstance(value, SimpleNamespace)
        or hasattr(kind, "__pydantic_fields__")
        or (argparse is not None and isinstance(value, argparse.Namespace))
    ):
        return vars(value)
    return None


def stands_for(value: Any) -> object:
    """What the value is in simpler types: fields, a number, a list, and if nothing else its text.

    May raise anything, as a value's own `__str__` may.
    """
    found: object = fields_of(value)
    if found is not None:
        return found
    if isinstance(value, (Sequence, Set)) and not isinstance(value, (bytes, bytearray, memoryview)):
        return list(value)  # OmegaConf's lists, ranges
    # A value may have any of these and fail in it: a sparse tensor, a quantity with a unit. What
    # gives its own kind again (numpy's longdouble, a mock object) would do so for ever
    with suppress(Exception):
        if type(found := value.tolist()) is not type(value):
            return found
    with suppress(Exception):
        if type(found := value.__array__().tolist()) is not type(value):
            return found
    with suppress(Exception):
        return float(value)  # Decimal, Fraction
    return str(value)

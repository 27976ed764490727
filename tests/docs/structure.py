"""The product's modules and who imports whom, read from the sources and never imported."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = ("karaoke_train", "syncd")


def files(*folders: str) -> list[Path]:
    """The Python files of these folders, relative to the repository."""
    found = (path for folder in folders or PACKAGES for path in (ROOT / folder).rglob("*.py"))
    return sorted(path.relative_to(ROOT) for path in found)


def module(file: Path) -> str:
    """The file's name in an import; a package's is that of its folder."""
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name: str) -> str:
    """The room of a module of ours: the folder below its package, or itself when it is in none."""
    return ".".join(name.split(".")[:2])


@cache
def modules() -> Mapping[str, Path]:
    """All modules of the product with their files."""
    return {module(file): file for file in files()}


@cache
def imports(file: Path, *, functions: bool = True, typing: bool = True) -> frozenset[str]:
    """The modules that a file names in its imports, as exactly as the statement tells.

    functions: those inside of functions, too, which wait for the call. typing: those under
    `if TYPE_CHECKING`, too, which are never executed.
    """
    found: set[str] = set()
    for statement in _import_statements(file):
        if (statement.in_function and not functions) or (statement.for_typing and not typing):
            continue
        found |= _named(file, statement.node)
    return frozenset(found)


def _named(file: Path, node: ast.Import | ast.ImportFrom) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    base = _absolute(file, node)
    deeper = {f"{base}.{alias.name}" for alias in node.names}
    ours = deeper & modules().keys()
    return ours if ours == deeper else {base, *ours}


def _absolute(file: Path, node: ast.ImportFrom) -> str:
    """`from .x import y` by its whole name."""
    if not node.level:
        return node.module or ""
    parts = file.with_suffix("").parts[: -node.level]
    return ".".join([*parts, *([node.module] if node.module else [])])


class _ImportStatement(NamedTuple):
    node: ast.Import | ast.ImportFrom
    in_function: bool
    for_typing: bool  # under `if TYPE_CHECKING`


@cache
def _import_statements(file: Path) -> tuple[_ImportStatement, ...]:
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return tuple(_within_block(tree, in_function=False, for_typing=False))


def _within_block(
    block: ast.AST, *, in_function: bool, for_typing: bool
) -> Iterator[_ImportStatement]:
    """Statements alone are looked into: an expression has no import, and a file is mostly those."""
    in_function = in_function or isinstance(block, ast.FunctionDef | ast.AsyncFunctionDef)
    checks_types = isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
    for part in ("body", "handlers", "cases", "orelse", "finalbody"):
        typing = for_typing or (checks_types and part == "body")
        for child in getattr(block, part, ()):
            if isinstance(child, ast.Import | ast.ImportFrom):
                yield _ImportStatement(child, in_function, typing)
            else:
                yield from _within_block(child, in_function=in_function, for_typing=typing)


def within(names: Collection[str], *tops: str) -> set[str]:
    """Those of the names that are one of `tops` or inside of one."""
    return {name for name in names for top in tops if f"{name}.".startswith(f"{top}.")}


@cache
def arrows() -> dict[tuple[str, str], set[str]]:
    """(room, room that it imports) -> the files that do."""
    found: dict[tuple[str, str], set[str]] = {}
    for name, file in modules().items():
        for imported in within(imports(file), *PACKAGES):
            ends = room(name), room(imported)
            if ends[0] != ends[1]:
                found.setdefault(ends, set()).add(str(file))
    return found


def cycle(graph: Mapping[str, Collection[str]]) -> list[str]:
    """A way that leads back to its own start; empty where there is none."""
    done: set[str] = set()

    def look(node: str, way: list[str]) -> list[str]:
        if node in way:
            return [*way[way.index(node) :], node]
        if node in done:
            return []
        for other in sorted(graph.get(node, ())):
            if found := look(other, [*way, node]):
                return found
        done.add(node)
        return []

    return next((found for node in sorted(graph) if (found := look(node, []))), [])

"""Who may import whom: over the sources, and in processes that really import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "accelerate", "numpy", "scipy")
NETWORK = ("wandb", "requests")
WANDB_USERS = {
    "syncd/destination/wandb/worker.py",
    "syncd/destination/wandb/history.py",
}  # processes of their own


def sources(*folders: str) -> list[str]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [str(path.relative_to(ROOT)) for path in found]


def imports(file: str, *, everywhere: bool = True) -> set[str]:
    """The modules that a file imports; those for type checking alone don't count. everywhere:
    inside of functions, too."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    nodes = list(_executed(tree)) if everywhere else list(_executed(tree, functions=False))
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def _executed(node: ast.AST, *, functions: bool = True) -> list[ast.AST]:
    out: list[ast.AST] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) and not functions:
            continue
        out += [child, *_executed(child, functions=functions)]
    return out


def reaches(modules: set[str], *names: str) -> set[str]:
    return {module for module in modules for name in names if f"{module}.".startswith(f"{name}.")}


@pytest.mark.parametrize("file", sources("syncd", "karaoke_train/runlog"))
def test_the_daemon_and_the_record_log_never_import_what_training_needs(file: str) -> None:
    assert reaches(imports(file), *HEAVY) == set()


@pytest.mark.parametrize("file", sources("karaoke_train"))
def test_training_never_imports_wandb_or_requests_or_the_daemon(file: str) -> None:
    assert reaches(imports(file), *NETWORK, "syncd") == set()


@pytest.mark.parametrize("file", sources("karaoke_train/runlog"))
def test_the_record_log_imports_nothing_of_training(file: str) -> None:
    own = {name for name in imports(file) if name.startswith("karaoke_train")}
    assert own - reaches(own, "karaoke_train.runlog") == set()


@pytest.mark.parametrize("file", sources("syncd"))
def test_of_training_the_daemon_knows_the_record_log_alone(file: str) -> None:
    own = {name for name in imports(file) if name.startswith("karaoke_train")}
    assert own - reaches(own, "karaoke_train.runlog") == set()


@pytest.mark.parametrize("file", sources("syncd"))
def test_wandb_is_imported_in_processes_of_its_own_and_on_use(file: str) -> None:
    assert reaches(imports(file, everywhere=False), "wandb") == set()
    if file not in WANDB_USERS:
        assert reaches(imports(file), "wandb") == set()


def test_the_schedule_knows_no_clock_file_or_thread() -> None:
    outside = {name for name in imports("syncd/sync/scheduler.py") if not name.startswith("syncd")}
    tops = {name.partition(".")[0] for name in outside}
    assert tops <= {"__future__", "math", "collections", "dataclasses", "enum", "typing",
                    "karaoke_train"}  # fmt: skip


@pytest.mark.parametrize("file", sources("syncd"))
def test_nobody_imports_the_command_line(file: str) -> None:
    if not file.startswith("syncd/cli") and file != "syncd/__main__.py":
        assert reaches(imports(file), "syncd.cli") == set()


@pytest.mark.parametrize("module", ["status", "render"])
def test_status_needs_neither_daemon_nor_transport(module: str) -> None:
    assert (
        reaches(
            imports(f"syncd/report/{module}.py"), "syncd.sync.loop", "syncd.destination.wandb.sdk"
        )
        == set()
    )


def loaded(code: str) -> set[str]:
    """The top modules in memory after `code`."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.splitlines()[-1].split())


def test_the_daemon_process_loads_neither_wandb_nor_torch() -> None:
    rooms = ("service.process", "sync.assemble", "sync.run_once", "report.render", "cli")
    modules = ", ".join(f"syncd.{name}" for name in rooms)
    found = loaded(f"import {modules}, syncd.destination.wandb.worker; import requests, watchdog")
    assert found & {*HEAVY, "wandb"} == set()
    assert "syncd" in found


def test_a_worker_loads_no_torch_even_with_wandb() -> None:
    assert "torch" not in loaded("import syncd.destination.wandb.worker, wandb")


def test_the_record_log_loads_no_network_and_nothing_heavy() -> None:
    found = loaded("import karaoke_train.runlog")
    assert found & {*HEAVY, *NETWORK, "syncd", "rich", "watchdog"} == set()


def test_a_status_command_loads_nothing_heavy() -> None:
    code = "from syncd.cli import main\ntry: main(['status', '--help'])\nexcept SystemExit: pass"
    assert loaded(code) & {*HEAVY, *NETWORK, "watchdog"} == set()

"""Who may import whom, room by room: over the sources, and in processes that really import.

A room is a folder below `karaoke_train/` or `syncd/`, or a module beside these folders. Imports
inside of functions and those for type checking alone count, too: whenever they are executed, a
reader has to follow them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.docs.structure import ROOT, arrows, cycle, files, imports, modules, room, within

LOG: Final = "karaoke_train.runlog"

# Room -> the rooms that it may import, each of which stands above it: data flows down the table,
# imports go up it. `log` is the record log, all that both programs share; `tops` are syncd's
# modules beside its folders.
ROOMS: Final = {
    "karaoke_train.runlog": "",
    "karaoke_train": "log",
    "karaoke_train.atomic_file": "log",
    "karaoke_train.writable": "",
    "karaoke_train.notes": "",
    "karaoke_train.settings": "",
    "karaoke_train.annotations": "notes atomic_file",
    "karaoke_train.audio": "notes",
    "karaoke_train.synth": "notes audio",
    "karaoke_train.dataset": "notes settings atomic_file annotations audio synth log",
    "karaoke_train.model": "notes settings atomic_file audio dataset",
    "karaoke_train.inference": "notes settings atomic_file audio dataset model log",
    "karaoke_train.training": "notes settings atomic_file annotations audio dataset model inference"
                              " writable log",
    "karaoke_train.callback": "training",
    "karaoke_train.lightning": "training",
    "karaoke_train.accelerate": "training",
    "karaoke_train.cli": "notes settings annotations audio synth dataset model inference training"
                         " writable log",
    "syncd": "",
    "syncd.errors": "log",
    "syncd.failpoints": "",
    "syncd.memory": "",
    "syncd.without": "",
    "syncd.paths": "errors",
    "syncd.settings": "errors failpoints paths log",
    "syncd.logging_setup": "errors log",
    "syncd.events": "errors logging_setup log",
    "syncd.state": "tops log",
    "syncd.source": "tops state log",
    "syncd.imports": "tops state source log",
    "syncd.destination": "tops state source log",
    "syncd.sync": "tops state source destination log",
    "syncd.service": "tops state source destination sync log",
    "syncd.report": "tops state source destination sync service log",
    "syncd.cli": "tops state source imports destination sync service report log",
    "syncd.__main__": "cli log",
}  # fmt: skip
TOPS: Final = (
    "errors", "failpoints", "paths", "settings", "logging_setup", "events", "memory", "without",
)  # fmt: skip

# Library -> the modules, or whole rooms, that may import it.
TRAINING: Final = (
    "karaoke_train.audio.features",
    "karaoke_train.dataset.batches",
    "karaoke_train.dataset.load",
    "karaoke_train.dataset.targets",
    "karaoke_train.model",
    "karaoke_train.inference",
    "karaoke_train.training",
    "karaoke_train.cli",
)
LIBRARIES: Final = {
    "torch": TRAINING,
    "transformers": TRAINING,
    "accelerate": TRAINING,
    "numpy": ("karaoke_train",),
    "scipy": ("karaoke_train",),
    "wandb": ("syncd.destination.wandb.worker", "syncd.destination.wandb.history"),
    "plotext": ("syncd.report.plot",),
    "tensorboardX": ("syncd.report.tensorboard", "syncd.imports.tensorboard"),
    "arro3": ("syncd.report.parquet",),
    "trackio": ("syncd.destination.trackio.store", "syncd.destination.trackio.dashboard"),
    "requests": (),
    "urllib3": ("syncd.destination.wandb.http", "syncd.destination.wandb.kept"),
}

# Room behind a door -> the modules outside that may import from it.
BEHIND: Final = {
    "syncd.destination.trackio": {"syncd.destination.registry"},
    "syncd.destination.wandb": {
        "syncd.destination.registry",  # makes whichever destination the settings name
        "syncd.cli.upload",  # `sync` hands wandb's own offline runs to `wandb sync`
    },
}

# Module that only computes -> what it may import beside our own modules.
PURE: Final = {
    "syncd.sync.scheduler": "math collections dataclasses enum typing",
    "syncd.sync.turns": "collections itertools typing",
    "syncd.destination.rows": "math collections dataclasses datetime enum typing",
    "karaoke_train.runlog.reader": "collections dataclasses typing",
    "karaoke_train.model.decode": "collections dataclasses typing numpy",
    "karaoke_train.model.note_model": "dataclasses collections typing numpy",
}

HEAVY: Final = ("torch", "transformers", "accelerate", "numpy", "scipy")
NETWORK: Final = ("wandb", "requests", "urllib3")


def allowed(name: str) -> set[str]:
    """The rooms that this one may import, by their whole names."""
    package = name.partition(".")[0]
    words = [*ROOMS[name].split(), *(TOPS if "tops" in ROOMS[name].split() else ())]
    found = {f"{package}.{word}" for word in words if word not in ("log", "tops")}
    return found | ({LOG} if "log" in words else set())


def test_the_table_has_every_room_and_none_that_is_gone() -> None:
    assert {room(name) for name in modules()} == set(ROOMS)


def test_the_table_points_upwards_alone() -> None:
    order = list(ROOMS)
    for name in ROOMS:
        assert allowed(name) <= set(order[: order.index(name)]), name


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_those_above_it_in_the_table_alone(name: str) -> None:
    found = {to: sorted(where) for (start, to), where in arrows().items() if start == name}
    assert {to: where for to, where in found.items() if to not in allowed(name)} == {}


def test_no_way_through_the_rooms_leads_back() -> None:
    assert cycle(graph_of(arrows())) == []


def test_no_way_through_the_modules_leads_back() -> None:
    found = {name: modules().keys() & imports(file) - {name} for name, file in modules().items()}
    assert cycle(found) == []


def test_a_way_that_leads_back_is_found() -> None:
    assert cycle({"a": "b", "b": "cd", "c": "", "d": "a"}) == ["a", "b", "d", "a"]
    assert cycle({"a": "bc", "b": "d", "c": "d", "d": ""}) == []


def graph_of(found: dict[tuple[str, str], set[str]]) -> dict[str, set[str]]:
    """Room -> the rooms that it does import."""
    graph: dict[str, set[str]] = {}
    for start, to in found:
        graph.setdefault(start, set()).add(to)
    return graph


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_imported_in_its_place_alone(library: str) -> None:
    users = {name for name, file in modules().items() if within(imports(file), library)}
    assert users - within(users, *LIBRARIES[library]) == set()


@pytest.mark.parametrize("name", BEHIND)
def test_a_destination_is_known_to_the_registry_alone(name: str) -> None:
    users = {user for user, file in modules().items() if within(imports(file), name)}
    assert users - within(users, name) - BEHIND[name] == set()


@pytest.mark.parametrize("file", files("syncd"), ids=str)
def test_wandb_is_imported_on_use_alone(file: Path) -> None:
    assert within(imports(file, functions=False, typing=False), "wandb") == set()


@pytest.mark.parametrize("name", PURE)
def test_a_module_that_only_computes_knows_no_clock_file_or_thread(name: str) -> None:
    outside = {what for what in imports(modules()[name]) if what not in modules()}
    outside -= within(outside, "karaoke_train", "syncd")
    assert {what.partition(".")[0] for what in outside} <= {"__future__", *PURE[name].split()}


def loaded(code: str) -> set[str]:
    """The top modules in memory after `code`."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.process
def test_the_daemon_process_loads_neither_wandb_nor_torch() -> None:
    rooms = ("service.process", "sync.assemble", "sync.run_once", "report.render", "cli")
    names = ", ".join(f"syncd.{name}" for name in rooms)
    found = loaded(f"import {names}, syncd.destination.wandb.worker; import urllib3, watchdog")
    assert found & {*HEAVY, "wandb"} == set()
    assert "syncd" in found


@pytest.mark.process
@pytest.mark.parametrize(
    "code",
    [
        "from syncd import without\nwith without.torch(): import tensorboardX",
        "from syncd.report import tensorboard\nfrom pathlib import Path\n"
        "try: tensorboard.export(None, Path('.'))\nexcept AttributeError: pass",
        "from syncd.imports import tensorboard\nfrom pathlib import Path\n"
        "tensorboard.read(Path('.'), 'a')",
    ],
)
def test_event_files_are_written_and_read_without_torch(code: str) -> None:
    pytest.importorskip("tensorboardX")
    assert "torch" not in loaded(code)


@pytest.mark.process
def test_a_worker_loads_no_torch_even_with_wandb() -> None:
    assert "torch" not in loaded("import syncd.destination.wandb.worker, wandb")


@pytest.mark.process
def test_the_record_log_loads_no_network_and_nothing_heavy() -> None:
    found = loaded("import karaoke_train.runlog")
    assert found & {*HEAVY, *NETWORK, "syncd", "rich", "watchdog"} == set()


@pytest.mark.process
def test_the_record_log_loads_what_only_a_new_run_needs_with_the_first_run_alone(
    tmp_path: Path,
) -> None:
    on_use = {"filelock", "socket", "subprocess", "shutil", "base64"}
    bare = loaded("import orjson, pathlib")  # what these bring is no matter of ours
    code = "from karaoke_train import RunLog"
    assert loaded(code) & on_use - bare == set()
    assert loaded(f"{code}\nRunLog.create({str(tmp_path)!r}).close()") & on_use >= {"filelock"}


@pytest.mark.process
def test_a_status_command_loads_nothing_heavy() -> None:
    code = "from syncd.cli import main\ntry: main(['status', '--help'])\nexcept SystemExit: pass"
    assert loaded(code) & {*HEAVY, *NETWORK, "watchdog"} == set()

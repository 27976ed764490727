"""All rows of docs/benchmarks.md, in one go.

python -m benchmarks.figures           # smaller sizes, in minutes: printed
python -m benchmarks.figures --full    # the sizes of the page, in half an hour: written there,
                                       # and README's sentence about them
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final, TypeVar

from benchmarks import live, many, record_log, upload
from benchmarks.measure import ROOT, table

PAGE: Final = ROOT / "docs" / "benchmarks.md"
README: Final = ROOT / "README.md"

UPLOADS: Final = (
    upload.Case(records=1),  # what starting, asking and ending cost
    upload.Case(),
    upload.Case(records=200_000),
    upload.Case(runs=8, records=5_000),
    upload.Case(records=1_000_000, grown=100),
)
LIVE: Final = (
    *(live.Case(runs=runs) for runs in (1, 4, 64, 256)),
    live.Case(runs=1, rate=100),
    live.Case(client="wandb"),
)
RECORD_LOG: Final = record_log.Case(records=1_000_000)
MANY: Final = (
    many.Case(),
    *(many.Case(runs=runs, what="status") for runs in (10, 1_000, 10_000)),
)
TABLES: Final = ("upload", "live", "log", "many", "step")
SENTENCE: Final = """\
Uploading 20,000 records takes {whole} s of CPU, and {whole_wandb} s with `wandb sync`; it takes
{wall} s until the server's own count has confirmed them, which `wandb sync` ({wall_wandb} s) does
not ask for. Adding 100 to a million takes {grown} s of CPU, and {grown_wandb} s with `wandb sync`,
which sends them all again. 256 live runs at a record per second take {mib} MiB and {core} of a
core; a live run's record is at the server {median} ms after it was logged (median). All behind a
stand-in with W&B's rate limits: [docs/benchmarks.md](docs/benchmarks.md) has the tables.
"""
SMALL: Final = 20  # times fewer records, where there are very many


def main() -> None:
    """Measure, and print or write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="the page's sizes; writes the page")
    parser.add_argument("--only", choices=TABLES, help="one of the tables")
    options = parser.parse_args()
    tables = dict(_tables(options.full, options.only))
    if options.full:
        page = PAGE.read_text("utf-8")
        for name, text in tables.items():
            page = put(page, name, text)
            page = put(page, f"{name} machine", machine())
        PAGE.write_text(page, "utf-8")
        README.write_text(put(README.read_text("utf-8"), "figures", sentence(page)), "utf-8")
    else:
        print(machine(), *tables.values(), sep="\n")


def _tables(full: bool, only: str | None) -> Iterator[tuple[str, str]]:
    if only in ("upload", None):
        cases = UPLOADS if full else tuple(map(smaller, UPLOADS))
        yield "upload", table(upload.HEAD, [_said(upload.row(case)) for case in cases])
    if only in ("live", None):
        lives = LIVE if full else tuple(replace(case, seconds=12) for case in LIVE)
        yield "live", table(live.HEAD, [_said(live.row(case)) for case in lives])
    if only in ("log", None):
        log = RECORD_LOG if full else smaller(RECORD_LOG)
        yield "log", table(record_log.HEAD, map(_said, record_log.rows(log)))
    if only in ("many", None):
        cases = MANY if full else tuple(map(fewer, MANY))
        yield "many", table(many.HEAD, [_said(row) for case in cases for row in many.rows(case)])
    if only in ("step", None):
        from benchmarks import training_step  # here: torch, of which the others know nothing

        steps = training_step.CASES if full else map(training_step.shorter, training_step.CASES)
        yield "step", table(training_step.HEAD, map(_said, map(training_step.row, steps)))


Sized = TypeVar("Sized", upload.Case, record_log.Case)


def smaller(case: Sized) -> Sized:
    """With fewer records, where there are very many."""
    if case.records <= 100_000:
        return case
    return replace(case, records=case.records // SMALL, rounds=1)


def fewer(case: many.Case) -> many.Case:
    """With fewer runs, where there are very many."""
    return replace(case, runs=min(case.runs, 500), seconds=20, rounds=3)


def _said(row: list[str]) -> list[str]:
    """The same row, for who waits for the end of it."""
    print(" ".join(row), file=sys.stderr, flush=True)
    return row


def machine() -> str:
    """What it was measured on and with, and when."""
    models = (
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    names = ("wandb", "urllib3", "orjson")
    parts = [
        f"{os.cpu_count()} cores ({next(models, platform.machine())})",
        f"Linux {platform.release()}",
        f"Python {platform.python_version()}",
        *(f"{name} {version(name)}" for name in names),
        f"load average {os.getloadavg()[2]:.1f}, the benchmarks included",
    ]
    return f"{datetime.now(UTC):%Y-%m-%d}; {', '.join(parts)}.\n"


def put(page: str, name: str, text: str) -> str:
    """The page with this text between its markers. Raises ValueError where it has none."""
    begin, end = _markers(name)
    head, found, rest = page.partition(begin)
    _, ended, tail = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"there is no place for {name}")
    return head + begin + text + end + tail


def between(page: str, name: str) -> str:
    """What stands between the markers of that name."""
    begin, end = _markers(name)
    return page.partition(begin)[2].partition(end)[0]


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"


def rows(page: str, name: str) -> list[Mapping[str, str]]:
    """The rows of one of the page's tables, by column."""
    lines = [line.strip("|\n ").split(" | ") for line in between(page, name).splitlines()]
    head, _, *cells = lines
    return [dict(zip(head, row, strict=True)) for row in cells]


def sentence(page: str) -> str:
    """What README says of the page's tables."""
    uploads = {row["records"]: row for row in rows(page, "upload")}
    ours = [row for row in rows(page, "live") if row["client"] == "syncd"]
    lives = {(row["runs"], row["records/s each"]): row for row in ours}
    whole, grown = uploads["20,000"], uploads["1,000,000, grown by 100"]
    return SENTENCE.format(
        whole=whole["syncd CPU s"],
        whole_wandb=whole["wandb CPU s"],
        wall=whole["syncd wall s"],
        wall_wandb=whole["wandb wall s"],
        grown=grown["syncd CPU s"],
        grown_wandb=grown["wandb CPU s"],
        mib=lives["256", "1"]["MiB"],
        core=lives["256", "1"]["of a core"],
        median=lives["1", "1"]["median ms"],
    )


if __name__ == "__main__":
    main()

"""A run's history as the server gives it, read through wandb's public API in a process of its
own: like `worker`, the only places where wandb is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from syncd.destination.base import RunRef
from syncd.destination.wandb.credentials import Login
from syncd.errors import RunTrouble

_MAIN: Final = "from syncd.destination.wandb.history import main; main()"
TIMEOUT: Final = 60  # seconds that the API waits for one answer


def history(login: Login, ref: RunRef) -> Iterator[dict[str, Any]]:
    """The rows of a run, by step. Raises RunTrouble with the API's words when they can't be had
    to the last one."""
    question = {
        "base_url": login.base_url,
        "key": login.key,
        "path": f"{ref.entity}/{ref.project}/{ref.run_id}",
    }
    with tempfile.TemporaryDirectory(prefix="karaoke-syncd-") as scratch:
        process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, scratch],
            stdin=subprocess.PIPE,  # a key in the arguments would be there for all to see
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=scratch,
        )
        assert process.stdin
        assert process.stdout
        try:
            with process.stdin, process.stdout:
                process.stdin.write(json.dumps(question).encode())
                process.stdin.close()
                yield from _rows(process.stdout, ref.run_id)
        finally:
            process.kill()
            process.wait()


def _rows(answers: Any, run_id: str) -> Iterator[dict[str, Any]]:
    for line in answers:
        kind, value = json.loads(line)
        if kind == "row":
            yield value
        elif kind == "end":
            return
        else:
            raise RunTrouble(f"wandb's API: {value}", where=run_id)
    raise RunTrouble("the process that reads the history has died", where=run_id)


def main() -> None:
    """Answer the question on standard input: a JSON pair a line, rows and then an end."""
    from syncd.destination.wandb.worker import isolate_environment

    question = json.load(sys.stdin)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the API's own words are no answers
    isolate_environment(Path(sys.argv[1]))
    os.environ["WANDB_BASE_URL"] = question["base_url"]
    os.environ["WANDB_API_KEY"] = question["key"]
    os.environ["WANDB_SILENT"] = "true"
    import wandb

    try:
        run = wandb.Api(timeout=TIMEOUT).run(question["path"])
        for row in run.scan_history(use_cache=False):
            answers.write(json.dumps(["row", row]) + "\n")
        answers.write(json.dumps(["end", ""]) + "\n")
    except Exception as error:
        words = f"{type(error).__name__}: {error}".replace(question["key"], "***")
        answers.write(json.dumps(["error", words[:500]]) + "\n")
    answers.flush()
    os._exit(0)  # nothing of the SDK is worth waiting for

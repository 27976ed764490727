"""`doctor`: what could keep records from arriving, each finding with a remedy."""

from __future__ import annotations

import argparse
import json
from typing import Any, Final

from rich.console import Console
from rich.markup import escape

from syncd.cli.common import add_command, login_of
from syncd.errors import Exit
from syncd.settings import Settings

_MARKS: Final = {
    "ok": "[green]ok     [/]",
    "warning": "[yellow]warning[/]",
    "error": "[red]error  [/]",
}


def add(commands: Any) -> None:
    """Add the command."""
    doctor = add_command(
        commands, "doctor", _doctor, "check what could keep records from arriving",
        exits=(Exit.WARNINGS, Exit.ERRORS),
    )  # fmt: skip
    doctor.add_argument("--json", action="store_true", help="a stable schema, for programs")


def _doctor(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    from syncd.report.doctor import examine, exit_code, to_json

    findings = []
    for finding in examine(settings, login_of(settings)):
        findings.append(finding)
        if not arguments.json:
            console.print(
                f"{_MARKS[finding.level]}  {finding.check:<16} {escape(finding.what)}",
                highlight=False,
                soft_wrap=True,
            )
            if finding.remedy and finding.level != "ok":
                console.print(f"{'':26}→ {escape(finding.remedy)}", highlight=False, soft_wrap=True)
    if arguments.json:
        print(json.dumps(to_json(findings), indent=2))
    return exit_code(findings)

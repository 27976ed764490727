"""`doctor`: what could keep records from arriving, each finding with a remedy."""

from __future__ import annotations

from typing import Final

import click
from rich.markup import escape

from karaoke_train.runlog.plain_text import json_text
from syncd.cli.common import Invocation, command, say
from syncd.destination.registry import connect_all
from syncd.errors import Exit

_MARKS: Final = {
    "ok": "[green]ok     [/]",
    "warning": "[yellow]warning[/]",
    "error": "[red]error  [/]",
}


@command(
    "doctor",
    to_stdout=True,
    quiet=True,
    exits={
        Exit.OK: "nothing is in the way",
        Exit.WARNINGS: "nothing worse than warnings",
        Exit.ERRORS: "something keeps records from arriving; each such line has a remedy",
    },
    examples=(
        ("karaoke-syncd doctor --log_dir logs", "every check, with remedies"),
        ("karaoke-syncd doctor --json", "for a script"),
    ),
)
@click.option("--json", "as_json", is_flag=True, help="A stable schema, for programs.")
def doctor(call: Invocation, as_json: bool) -> Exit:
    """Check what could keep records from arriving."""
    from syncd.report.doctor import examine, exit_code, to_json
    from syncd.service import folders

    findings = []
    settings = folders.in_force(call.settings)
    destinations = [destination for _, destination in connect_all(settings)]
    for finding in examine(settings, *destinations):
        findings.append(finding)
        if not as_json:
            call.console.print(
                f"{_MARKS[finding.level]}  {finding.check:<16} {escape(finding.what)}",
                highlight=False,
                markup=True,
                soft_wrap=True,
            )
            if finding.remedy and finding.level != "ok":
                words = f"{'':26}→ {escape(finding.remedy)}"
                call.console.print(words, highlight=False, markup=True, soft_wrap=True)
    if as_json:
        say(json_text(to_json(findings)))
    return exit_code(findings)

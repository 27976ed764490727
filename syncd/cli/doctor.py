"""`doctor`: what could keep records from arriving, each finding with a remedy."""

from __future__ import annotations

from typing import Final

import click

from karaoke_train.runlog.plain_text import json_text
from syncd.cli.common import Invocation, command, say
from syncd.destination.registry import connect_all
from syncd.errors import Exit
from syncd.report.page import Styled

_MARKS: Final = {
    "ok": Styled("ok     ", "green"),
    "warning": Styled("warning", "yellow"),
    "error": Styled("error  ", "red"),
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
            words = f"  {finding.check:<16} {finding.what}"
            call.console.print(_MARKS[finding.level], words, soft_wrap=True)
            if finding.remedy and finding.level != "ok":
                call.console.print(f"{'':26}→ {finding.remedy}", soft_wrap=True)
    if as_json:
        say(json_text(to_json(findings)))
    return exit_code(findings)

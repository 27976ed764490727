"""`plot`: a run's curves, in the terminal or as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from syncd.cli.common import PATH, Invocation, command
from syncd.errors import Exit, UsageError

_WIDEST = 120  # columns: wider curves are no easier to read
_HEIGHT = 15  # rows of a panel
_NAMED = 6  # keys that are not drawn
_AXES = ("step", "epoch", "time")


@command(
    "plot",
    to_stdout=True,
    quiet=True,
    exits={
        Exit.OK: "drawn, or written",
        Exit.FAILED: "a file can't be read, or the picture can't be written",
    },
    examples=(
        ("karaoke-syncd plot", "the newest run's losses"),
        ("karaoke-syncd plot baseline 'lr-*' --keys 'val/*'", "several runs over each other"),
        ("karaoke-syncd plot --x time --smoothing 0.9 -o curves.svg", "a picture"),
    ),
)
@click.argument("runs", nargs=-1, metavar="[RUN|FILE]...")
@click.option(
    "--keys", multiple=True, metavar="GLOB",
    help="Metrics to draw, repeatable: 'val/*' (default: the losses).",
)  # fmt: skip
@click.option(
    "--x", "x", type=click.Choice(_AXES), default="step", show_default=True,
    help="What to draw over; time: seconds since the run began.",
)  # fmt: skip
@click.option(
    "--smoothing", type=click.FloatRange(0, 1, max_open=True), default=0.0, metavar="WEIGHT",
    help="From 0 (default) to below 1, as in TensorBoard and wandb.",
)  # fmt: skip
@click.option("-o", "--output", type=PATH, help="Write a .png or .svg instead.")
def plot(
    call: Invocation,
    runs: Sequence[str],
    keys: Sequence[str],
    x: str,
    smoothing: float,
    output: Path | None,
) -> Exit:
    """Draw a run's curves in the terminal, or as a picture.

    RUN is a run's id or name, or a glob over these. Without one or a FILE: the newest run in the
    log folders. Reads the log alone: no server, no account.
    """
    from syncd.destination.registry import connect
    from syncd.paths import destination_folder
    from syncd.report import plot as report
    from syncd.report.chosen import chosen
    from syncd.report.curves import XAxis

    address = connect(call.settings).identity.address
    found = chosen(runs, call.settings, destination_folder(call.settings.state_dir, address))
    files = found.files
    if found.unusable and (runs or not files):
        raise found.unusable[0]
    if not files:
        raise UsageError(
            f"there are no runs in {', '.join(map(str, call.settings.log_dir))}",
            meaning="Nothing was drawn",
            remedy="Name the log folder with --log_dir, or a FILE",
        )
    if not runs:
        files = [max(files, key=lambda file: file.path.stat().st_mtime)]
    what = report.plot(files, keys, XAxis(x), smoothing)
    if output:
        report.to_file(what, output)
        call.console.print(f"Written: {output}", soft_wrap=True)
    else:
        console = call.console.drawing
        width = min(console.width, _WIDEST)
        colour = console.is_terminal and not console.no_color
        drawn = report.in_terminal(what, width=width, height=_HEIGHT, colour=colour)
        known = console.encoding
        print(drawn.encode(known, "replace").decode(known))  # an escape would not fit into it
    for note in what.notes:
        call.console.print(note, style="yellow", soft_wrap=True)
    if what.others and not keys:
        named = ", ".join(what.others[:_NAMED])
        more = f" and {len(what.others) - _NAMED} more" if len(what.others) > _NAMED else ""
        words = f"Not drawn: {named}{more}. To see them: --keys GLOB"
        call.console.print(words, style="dim", soft_wrap=True)
    return Exit.OK

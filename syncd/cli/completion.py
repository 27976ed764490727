"""`completion`: what makes a shell complete karaoke-syncd's commands, options and files."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import get_completion_class

from syncd.cli.common import COMPLETION_VARIABLE, Command
from syncd.errors import Exit
from syncd.paths import NAME

SHELLS: Final = ("bash", "zsh", "fish")


def _print_script(shell: str) -> Exit:
    found = get_completion_class(shell)
    assert found  # click has all of SHELLS
    context = click.get_current_context()
    click.echo(found(context.find_root().command, {}, NAME, COMPLETION_VARIABLE).source())
    return Exit.OK


completion: Final = Command(
    name="completion",
    callback=_print_script,
    params=[click.Argument(["shell"], type=click.Choice(SHELLS), metavar="bash|zsh|fish")],
    help="""Print the script that completes commands, options and files in a shell.

    One of the examples below, given once, has every new shell run it.
    """,
    examples=(
        (f"echo 'eval \"$({NAME} completion bash)\"' >> ~/.bashrc", "bash 4.4 or newer"),
        (f"echo 'eval \"$({NAME} completion zsh)\"' >> ~/.zshrc", "zsh, after compinit"),
        (f"{NAME} completion fish > ~/.config/fish/completions/{NAME}.fish", "fish"),
    ),
    exits={Exit.OK: "the script is printed"},
)

"""`completion`: what makes a shell complete karaoke-train's commands, flags and files."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import get_completion_class

from karaoke_train.cli.common import NAME, USAGE, Command, say

VARIABLE: Final = "_KARAOKE_TRAIN_COMPLETE"  # set by the script when it asks for completions
SHELLS: Final = ("bash", "zsh", "fish")


def _print_script(shell: str) -> int:
    found = get_completion_class(shell)
    assert found  # click has all of SHELLS
    root = click.get_current_context().find_root().command
    say(found(root, {}, NAME, VARIABLE).source())
    return 0


completion: Final = Command(
    name="completion",
    callback=_print_script,
    params=[click.Argument(["shell"], type=click.Choice(SHELLS), metavar="bash|zsh|fish")],
    help="""Print the script that completes commands, flags and files in a shell.

    One of the examples below, given once, has every new shell run it.
    """,
    examples=(
        (f"echo 'eval \"$({NAME} completion bash)\"' >> ~/.bashrc", "bash 4.4 or newer"),
        (f"echo 'eval \"$({NAME} completion zsh)\"' >> ~/.zshrc", "zsh, after compinit"),
        (f"{NAME} completion fish > ~/.config/fish/completions/{NAME}.fish", "fish"),
    ),
    exits={0: "the script is printed"} | USAGE,
)

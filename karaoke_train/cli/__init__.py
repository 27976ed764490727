"""karaoke-train: arguments in, exit code out. One file per command; heavy imports come last."""

from __future__ import annotations

from karaoke_train.runlog.interrupts import INTERRUPTED, importing

with importing():
    import errno
    import os
    import sys
    from typing import TYPE_CHECKING, Any, Final

    import click
    from click.shell_completion import shell_complete

    from karaoke_train.cli import completion, data, evaluate, train, transcribe
    from karaoke_train.cli.common import (
        NAME,
        Group,
        stdout_has_no_reader,
        stdout_leads_nowhere,
    )
    from karaoke_train.cli.flags import given
    from karaoke_train.runlog import RunLogError
    from karaoke_train.runlog.plain_text import as_it_can, keep_errors_apart, several_lines

if TYPE_CHECKING:
    from collections.abc import Sequence


_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@click.pass_context
def _train_without_a_command(ctx: click.Context, /, **values: Any) -> int:
    if ctx.invoked_subcommand is None:
        return train.run(ctx)
    if stray := given(ctx):
        flag = next(p.opts[0] for p in ctx.command.params if p.name in stray)
        raise click.UsageError(f"{flag} stands before {ctx.invoked_subcommand}: put it behind")
    return 0


cli: Final = Group(
    name=NAME,
    callback=_train_without_a_command,
    invoke_without_command=True,
    params=train.TRAIN_FLAGS,
    commands=[
        data.data,
        train.train,
        evaluate.evaluate,
        transcribe.transcribe,
        completion.completion,
    ],
    help="""Train models that turn a singing voice into notes.

    Every metric goes to a record log on disk; the separate program karaoke-syncd uploads it to
    wandb when there is a network. Training is what happens without a command; each command has
    its own --help.
    """,
    examples=train.EXAMPLES,
    exits=train.EXITS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
click.version_option(package_name="karaoke-train", message=f"{NAME} %(version)s")(cli)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the process's exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    keep_errors_apart()
    as_it_can(sys.stdout)
    try:
        # click's own main would take an EOFError of a library for a Ctrl-C, and end a broken
        # pipe to a data worker with code 1 and no word.
        if asked := os.environ.get(completion.VARIABLE):
            return shell_complete(cli, {}, NAME, completion.VARIABLE, asked)
        with cli.make_context(NAME, words) as ctx:
            code = int(cli.invoke(ctx))
            stdout_has_no_reader()  # what `print` still holds: of a training that is done, say
            return code
    except BrokenPipeError:
        if not stdout_has_no_reader():
            raise  # another pipe broke: to a data worker, say
        return 0
    except click.exceptions.Exit as done:  # --help and --version
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        if error.errno not in _FULL:
            raise
        stdout_leads_nowhere()  # or what it still holds would be a second error
        print(f"{NAME}: {error.filename or 'the output'}: {error.strerror}", file=sys.stderr)
        return 1
    except (RunLogError, ValueError) as error:
        if not isinstance(error, RunLogError) and not _for_people(error):
            raise
        print(several_lines(f"{NAME}: {error}"), file=sys.stderr)
        return 1


def _for_people(error: Exception) -> bool:
    """Our own errors say what to do; a ValueError of a library is a bug and keeps its traceback."""
    return type(error).__module__.startswith("karaoke_train.")

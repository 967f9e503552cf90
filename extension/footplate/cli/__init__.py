"""The command line: the verbs of docs/cli.md. A verb's code is loaded when the verb is used."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points, version
from typing import Any

import click

__all__ = ["footplate", "main"]

_VERBS = {
    "train": (".work", "Run a script as a job."),
    "check": (".work", "Say whether a script would run, when, at what cost; queue nothing."),
    "attach": (".work", "Watch a job to its end."),
    "logs": (".work", "Print what a job printed."),
    "why": (".work", "Say why a job waits, runs as it does, or failed."),
    "stop": (".work", "Stop jobs."),
    "jobs": (".jobs", "List jobs; edit, extend, move, suspend, resume, delete them."),
    "quota": (".lists", "What your groups may use, use and wait for; hold and release them."),
    "nodes": (".lists", "Machines; block, drain and unblock them."),
    "secrets": (".lists", "Stored secrets: list, set, delete."),
    "doctor": (".doctor", "Say what is missing here and how to get it."),
}


class _Lazy(click.Group):
    """Own verbs by name, others by the entry point ``footplate.commands``."""

    def list_commands(self, _: click.Context) -> list[str]:
        return [*_VERBS, *sorted(set(_foreign()) - set(_VERBS))]

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        if name in _VERBS:
            command: click.Command = getattr(import_module(_VERBS[name][0], __name__), name)
            return command
        point = _foreign().get(name)
        return None if point is None else _load(name, point)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(context):
            near = difflib.get_close_matches(name, self.list_commands(context), 1)
            hint = f"did you mean {near[0]}?" if near else "footplate --help lists them"
            raise click.UsageError(f"there is no verb {name}; {hint}", context)
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name in self.list_commands(context):
            command = None if name in _VERBS else self.get_command(context, name)
            rows.append((name, command.get_short_help_str(80) if command else _VERBS[name][1]))
        with formatter.section("Verbs"):
            formatter.write_dl(rows)


def _foreign() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="footplate.commands")}


def _load(name: str, point: EntryPoint) -> click.Command:
    try:
        command: click.Command = point.load()
    except ImportError as error:
        missing = error.name or str(error)

        @click.command(name, add_help_option=False, context_settings={"ignore_unknown_options": True})
        @click.argument("rest", nargs=-1)
        def absent(rest: tuple[str, ...]) -> None:
            raise click.UsageError(
                f"'{name}' needs {missing}, which is not installed: pip install 'footplate[hub]'"
            )

        absent.help = f"(needs {missing}: pip install 'footplate[hub]')"
        return absent
    return command


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"footplate {version('footplate')}")
        context.exit()


@click.group(cls=_Lazy, context_settings={"help_option_names": ["--help", "-h"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Say the version.",
)
def footplate() -> None:
    """Train on GPUs from a shell, and always know why something waits or why it failed.

    Exit codes: 0 done, 1 the job failed, 2 a wrong call, 3 refused or out of reach, 4 no such thing,
    130 interrupted.
    """


def main(words: Sequence[str] | None = None) -> None:
    """Run one verb and exit with its code."""
    code = _run(list(sys.argv[1:] if words is None else words))
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _reader_left()
    sys.exit(code)


def _run(words: list[str]) -> int:
    from ..errors import FootplateError

    try:
        code: Any = footplate.main(words, prog_name="footplate", standalone_mode=False)
    except FootplateError as error:
        code = _say(str(error), error.exit_code)
    except click.ClickException as error:
        code = _explain(error)
    except (KeyboardInterrupt, click.Abort):
        code = 130
    except BrokenPipeError:
        _reader_left()
        code = 0
    return code if isinstance(code, int) else 0


def _explain(error: click.ClickException) -> int:
    """A wrong call as one sentence, or as the help where nothing was said at all."""
    context = getattr(error, "ctx", None)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(context.get_help() if context else error.message, err=True)
        return 2
    if isinstance(error, click.NoSuchOption):
        from ..flags import no_such_option

        return _say(no_such_option(context.command if context else footplate, error.option_name), 2)
    return _say(error.format_message(), 2)


def _say(sentence: str, code: int) -> int:
    click.echo(f"footplate: {sentence}", err=True)
    return code


def _reader_left() -> None:
    """After ``footplate jobs | head``, the interpreter's last flush would complain that nobody reads."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

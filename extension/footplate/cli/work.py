"""Verbs that start, watch and stop a job."""

from __future__ import annotations

import sys
from typing import Any

import click

from ..answers import told_with_fixes
from ..errors import JobFailedError, WrongCallError
from ..flags import CODE_WORDS, script_job, train_flags
from ..following import Place
from ..handle import Job
from ..options import read_options
from ..watching import TextScreen, watch
from .frame import as_json, client, show_json

__all__ = ["attach", "check", "logs", "stop", "train", "why"]

_INTERRUPTED = 130


@click.command(context_settings={"allow_interspersed_args": False})
@train_flags
@as_json
@click.argument("words", nargs=-1, type=click.UNPROCESSED, required=True, metavar="SCRIPT [ARGUMENTS]...")
def train(words: tuple[str, ...], as_json: bool, detach: bool, **given: Any) -> int:
    """Run a script as a job and print its output as it comes.

    What stands after the script's name is its own. Ctrl-C detaches: the job goes on.
    """
    client()
    code = {word: given.pop(word) for word in CODE_WORDS}
    options = read_options({word: value for word, value in given.items() if value not in {None, ()}})
    launch = script_job(words, code, options)
    click.echo(launch.say(), err=True, nl=False)
    job = launch.send()
    if detach:
        show_json(job.view()) if as_json else click.echo(job.id)
        return 0
    click.echo(f"job {job.id}", err=True)
    return _watch(job, None, None, as_json=as_json)


@click.command()
@as_json
@click.argument("job")
def attach(job: str, as_json: bool) -> int:
    """Watch a job from its beginning to its end. Ctrl-C detaches: the job goes on."""
    here = client()
    return _watch(Job(here, here.job(job)), None, None, as_json=as_json)


@click.command()
@click.option("--follow", "-f", is_flag=True, help="To the end of the job, as it comes.")
@click.option("--role", help="Unset: the first one.")
@click.option("--replica", type=click.IntRange(0), default=0)
@click.option("--attempt", type=click.IntRange(1), help="Unset: the last one.")
@click.option("--execution", type=click.IntRange(1), help="Unset: the last one.")
@click.option("--tail", type=click.IntRange(1), metavar="BYTES", help="Only the end.")
@as_json
@click.argument("job")
def logs(job: str, follow: bool, role: str | None, replica: int, as_json: bool, **where: Any) -> int:
    """Print what a replica of a job printed."""
    here = client()
    handle = Job(here, here.job(job))
    if follow:
        if any(where.values()):
            raise WrongCallError(
                "--attempt, --execution and --tail are for reading; --follow shows all as it comes"
            )
        return _watch(handle, role, replica, as_json=as_json)
    text = handle.logs(role=role, replica=replica, **where) or ""
    if as_json:
        show_json({"job": job, "replica": replica, "text": text})
    else:
        click.echo(text, nl=False)
    return 0


@click.command()
@click.option(
    "--apply", "number", type=click.IntRange(1), metavar="N", help="Make change N of those offered."
)
@as_json
@click.argument("job")
def why(job: str, number: int | None, as_json: bool) -> None:
    """Say why a job waits, runs as it does, or ended as it did; and what would start it now."""
    here = client()
    if number is not None:
        handle = Job(here, here.job(job))
        fix = handle.fix(number)
        changed = handle.apply(fix).last_seen
        show_json(changed) if as_json else click.echo(f"{job}: {fix.sentence}")
        return
    told = here.why(job)
    how = f"footplate why --apply N {job} makes change N"
    show_json(told) if as_json else click.echo(told_with_fixes(told.sentence, told.fixes, how))


@click.command(context_settings={"allow_interspersed_args": False})
@train_flags
@as_json
@click.argument("words", nargs=-1, type=click.UNPROCESSED, required=True, metavar="SCRIPT [ARGUMENTS]...")
def check(words: tuple[str, ...], as_json: bool, **given: Any) -> int:
    """Say what would become of a script: would it run, when, at what cost. Nothing is queued.

    It takes the options of train. The exit code is 1 if it would never start.
    """
    client()
    given.pop("detach")
    code = {word: given.pop(word) for word in CODE_WORDS}
    options = read_options({word: value for word, value in given.items() if value not in {None, ()}})
    verdict = script_job(words, code, options).check()
    show_json(verdict) if as_json else click.echo(verdict)
    return 1 if verdict.starts == "never" else 0


@click.command()
@as_json
@click.argument("jobs", nargs=-1, required=True)
def stop(jobs: tuple[str, ...], as_json: bool) -> None:
    """Stop jobs: each gets a signal to write a checkpoint, time to do so, and ends."""
    here = client()
    for name in jobs:
        view = here.cancel(name)
        show_json(view) if as_json else click.echo(repr(Job(here, view)))


def _watch(job: Job, role: str | None, replica: int | None, *, as_json: bool) -> int:
    """Print a job's output to its end; the exit code of how it ended."""
    if as_json:
        for item in job.client.follow(job.id, Place(role, replica)):
            if item.job is not None:
                job.see(item.job)
            click.echo(item.model_dump_json(exclude_defaults=True))
    else:
        screen = TextScreen(sys.stdout)
        watched = watch(job, job.client, screen, role=role, replica=replica, attach_word="footplate attach")
        if not watched.ended:
            return _INTERRUPTED
    job.refresh()
    try:
        job.raise_for_failure()
    except JobFailedError as error:
        click.echo(f"footplate: {error}", err=True)
        return error.exit_code
    return 0

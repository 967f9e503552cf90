"""The list of jobs, and what one may change of a job that was sent."""

from __future__ import annotations

from typing import Any

import click

from .. import session
from ..handle import Job
from .frame import as_json, client, show, show_json

__all__ = ["jobs"]

_STATES = ("queued", "starting", "running", "suspended", "succeeded", "failed", "cancelled")


@click.group(invoke_without_command=True)
@click.option("--state", type=click.Choice(_STATES), help="Only these.")
@click.option("--group", help="Only of this group.")
@click.option("--owner", help="Only of this person.")
@click.option("--array", "parent", metavar="JOB", help="The runs of this array.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@as_json
@click.pass_context
def jobs(context: click.Context, /, as_json: bool, **given: Any) -> None:
    """List jobs, newest first; or edit, extend, move, suspend, resume, delete one."""
    client()
    if context.invoked_subcommand is None:
        show(session.jobs(**given), as_json=as_json)


@jobs.command()
@click.option("--priority")
@click.option("--time", help="Limit of the run.")
@click.option("--env", "-e", multiple=True, metavar="NAME=VALUE", help="All of them anew.")
@click.option("--after", multiple=True, metavar="JOB[:OUTCOME]", help="All of them anew.")
@click.option("--exclude", multiple=True, metavar="NODE", help="All of them anew.")
@click.option("--node-label", "nodes_with", multiple=True, metavar="LABEL=VALUE", help="All of them anew.")
@click.option("--topology", metavar="node|rack|any")
@click.option("--max-restarts", type=int)
@click.option("--grace")
@click.option("--fence-after")
@click.option("--gpus", type=int)
@click.option("--cpu")
@click.option("--memory")
@click.option("--flavor")
@click.option("--replicas", metavar="N|MIN-MAX")
@click.option("--region")
@as_json
@click.argument("job")
def edit(job: str, as_json: bool, **given: Any) -> None:
    """Change a queued or suspended job. It keeps its place in line unless it asks for more.

    Of a running job, only the priority.
    """
    changes = {word: value for word, value in given.items() if value not in {None, ()}}
    _show(_handle(job).edit(**changes), as_json=as_json)


@jobs.command()
@as_json
@click.argument("job")
@click.argument("time")
def extend(job: str, time: str, as_json: bool) -> None:
    """Set a running job's time limit: TIME in all (4h), or so much more (+30m)."""
    _show(_handle(job).extend(time), as_json=as_json)


@jobs.command()
@as_json
@click.argument("job")
@click.argument("group")
def move(job: str, group: str, as_json: bool) -> None:
    """Let GROUP pay for a queued or suspended job. It keeps its place in line."""
    _show(_handle(job).move(group), as_json=as_json)


@jobs.command()
@as_json
@click.argument("job")
def suspend(job: str, as_json: bool) -> None:
    """Take a job off its machines, or out of the line, until it is resumed."""
    _show(_handle(job).suspend(), as_json=as_json)


@jobs.command()
@as_json
@click.argument("job")
def resume(job: str, as_json: bool) -> None:
    """Put a suspended job back in line."""
    _show(_handle(job).resume(), as_json=as_json)


@jobs.command()
@as_json
@click.argument("names", nargs=-1, required=True, metavar="JOB...")
def delete(names: tuple[str, ...], as_json: bool) -> None:
    """Remove ended jobs with their logs and results."""
    for name in names:
        client().delete(name)
        show_json({"deleted": name}) if as_json else click.echo(f"deleted {name}")


def _handle(job: str) -> Job:
    here = client()
    return Job(here, here.job(job))


def _show(job: Job, *, as_json: bool) -> None:
    show_json(job.last_seen) if as_json else click.echo(repr(job))

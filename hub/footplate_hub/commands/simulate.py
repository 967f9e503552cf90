"""``footplate simulate``: try a policy on a trace before switching to it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from footplate_spec.units import format_seconds

from ..control.groups import group_model
from ..queue.model import GroupModel, Policy
from ..queue.orders import orders
from ..settings import SettingsError, load_settings
from ..simulate.foretell import Foreteller
from ..simulate.load import cut
from ..simulate.plot import FORMATS, plot
from ..simulate.reading import read
from ..simulate.replay import replay
from ..simulate.report import GANG, Foretold, Report, Waits, report
from ..simulate.trace import Trace, TraceError

__all__ = ["simulate"]

_FILE = click.Path(dir_okay=False, path_type=Path)
_WRONG = 2


@click.command()
@click.argument("trace", type=_FILE)
@click.option(
    "--nodes", type=_FILE, help="The nodes; default the file beside TRACE, as docs/simulate.md says."
)
@click.option("--settings", type=_FILE, help="A footplate.yaml whose groups and quotas hold.")
@click.option(
    "--policy",
    default="fifo",
    show_default=True,
    type=click.Choice(sorted(orders())),
    help="The order.",
)
@click.option("--no-backfill", is_flag=True, help="Nobody passes the first that waits for room.")
@click.option("--load", type=float, help="Cut the nodes until this is the offered load: 0.9, 1.1.")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.option("--plot", "picture", type=_FILE, help=f"Draw it: a file that ends in {', '.join(FORMATS)}.")
def simulate(  # noqa: PLR0917 - click passes options by name
    trace: Path,
    nodes: Path | None,
    settings: Path | None,
    policy: str,
    no_backfill: bool,
    load: float | None,
    as_json: bool,
    picture: Path | None,
) -> int:
    """Replay TRACE through the queue in simulated time and say what would have happened.

    TRACE is the CSV of docs/simulate.md, a list of openb's pods, or what sacct --parsable2 printed.
    """
    try:
        found = read(trace, nodes)
        if load is not None:
            found = cut(found, load)
        groups = _groups(settings, found) if settings is not None else []
        foreteller = Foreteller()
        result = replay(
            found,
            Policy(policy, backfill=not no_backfill),
            groups=groups,
            watch=foreteller,
        )
        answer = report(result, foreteller.counted())
        if picture is not None:
            plot(result, picture, f"{trace.name}: {answer.policy}")
    except (TraceError, SettingsError) as error:
        click.echo(f"footplate: {error}", err=True)
        return _WRONG
    if as_json:
        click.echo(json.dumps(answer.as_dict()))
    else:
        _show(answer)
    return 0


def _groups(settings: Path, trace: Trace) -> list[GroupModel]:
    """Those of a footplate.yaml; a mistake if all their quotas are for other nodes."""
    groups = [group_model(group) for group in load_settings(settings, data=Path()).groups]
    limited = {place for group in groups for place in group.quotas}
    there = {(node.cluster, node.flavor) for node in trace.nodes}
    if limited and not limited & there:
        names = ", ".join(sorted("/".join(place) for place in there))
        raise TraceError(f"has no quota for the trace's nodes, which are {names}", settings)
    return groups


def _show(answer: Report) -> None:
    for note in answer.notes:
        click.echo(f"note: {note}")
    load = "" if answer.load is None else f", offered load {answer.load:.2f}"
    click.echo(f"{answer.jobs} jobs on {answer.nodes} nodes with {answer.gpus} GPUs{load}; {answer.policy}")
    rows = [
        ("waits", _waits(answer.waits)),
        (f"of {GANG} GPUs or more", _waits(answer.gang_waits)),
        ("utilisation", f"{answer.utilisation:.1%} of GPU time, {answer.goodput:.1%} without work undone"),
        ("fragmentation", f"{answer.fragmentation:.1%} of free GPU time was on nodes partly in use"),
        ("makespan", format_seconds(answer.makespan)),
        ("preemptions", f"{answer.preemptions}; {answer.lost_gpu_hours:.1f} GPU hours of work undone"),
        ("ended by limit", f"{answer.over_limit} jobs"),
    ]
    if answer.eta is not None and answer.eta.given:
        rows.append(("ETA ranges", _eta(answer.eta)))
    rows += [("hours waited", f"{hours:.1f} {code}") for code, hours in answer.waiting_by_reason.items()]
    rows += [("never started", f"{count} jobs: {code}") for code, count in answer.never.items()]
    width = max(len(name) for name, _ in rows)
    for name, words in rows:
        click.echo(f"{name.ljust(width)}  {words}")


def _eta(eta: Foretold) -> str:
    return (
        f"{eta.covered:.0%} of {eta.given} starts inside, {eta.early:.0%} before, {eta.late:.0%} after; "
        f"median width {format_seconds(eta.median_width)}, {eta.unknown} not known"
    )


def _waits(waits: Waits) -> str:
    if not waits.jobs:
        return "no jobs"
    words = ", ".join(
        f"{name} {format_seconds(value)}"
        for name, value in (
            ("mean", waits.mean),
            ("p50", waits.p50),
            ("p95", waits.p95),
            ("longest", waits.longest),
        )
    )
    return f"{words} ({waits.jobs} jobs)"

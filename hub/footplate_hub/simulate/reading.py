"""The trace in a file, whatever its format: the header says which it is."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from . import openb, plain, sacct, spot_gpu
from .table import header
from .trace import Trace, TraceError

__all__ = ["read"]


def read(jobs: Path, nodes: Path | None = None) -> Trace:
    """A trace with its nodes.

    Parameters
    ----------
    jobs
        The documented CSV of jobs, openb's pods, or what ``sacct --parsable2`` printed.
    nodes
        The documented CSV of nodes, openb's, or those of spot_gpu; unset: the file beside ``jobs`` whose name
        has ``nodes`` where that of ``jobs`` has ``jobs`` or ``pods``.

    Raises
    ------
    TraceError
        One sentence, with the line.
    """
    where = nodes or _beside(jobs)
    machines = _nodes(where)
    trace = _jobs(jobs)
    _flavors_exist(trace, {node.flavor for node in machines.nodes}, jobs)
    return Trace(trace.jobs, machines.nodes, machines.outages, (*machines.notes, *trace.notes))


def _beside(jobs: Path) -> Path:
    for word in ("jobs", "pods"):
        if word in jobs.name:
            guess = jobs.with_name(jobs.name.replace(word, "nodes"))
            if guess.exists():
                return guess
    raise TraceError("comes without nodes: name the file that lists them with --nodes", jobs)


def _jobs(file: Path) -> Trace:
    first = header(file)
    if sacct.looks_like(first):
        return sacct.read_jobs(file)
    if openb.looks_like_pods(first):
        return openb.read_pods(file)
    return plain.read_jobs(file)


def _nodes(file: Path) -> Trace:
    first = header(file)
    if openb.looks_like_nodes(first):
        return openb.read_nodes(file)
    if spot_gpu.looks_like(first):
        return spot_gpu.read_nodes(file)
    return plain.read_nodes(file)


def _flavors_exist(trace: Trace, flavors: set[str], file: Path) -> None:
    for job in trace.jobs:
        for role in job.shape.roles:
            for flavor in role.flavors:
                if flavor not in flavors:
                    raise TraceError(_unknown(job.id, flavor, sorted(flavors)), file, job.line or None)


def _unknown(job: str, flavor: str, flavors: Sequence[str]) -> str:
    near = difflib.get_close_matches(flavor, flavors, 1)
    hint = f"did you mean {near[0]}?" if near else f"the nodes have {', '.join(flavors)}"
    return f"job {job} wants flavor {flavor!r}, which no node has; {hint}"

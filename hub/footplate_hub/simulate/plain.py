"""The documented CSV of jobs and of nodes (docs/simulate.md)."""

from __future__ import annotations

import math
from pathlib import Path

from footplate_spec.units import parse_bytes, parse_cpu, parse_seconds

from ..queue.model import Amount, NodeModel, RoleShape
from .table import Row, rows
from .trace import CLUSTER, Outage, Shapes, Trace, TraceError, TraceJob, by_submission, one_role

__all__ = ["read_jobs", "read_nodes"]

_JOB = ("id", "submit", "duration")
_JOB_MORE = (
    *("replicas", "gpu", "cpu", "memory", "flavor", "time_limit", "group", "owner", "name"),
    *("priority", "topology", "cluster", "checkpoint"),
)
_NODE = ("name", "cpu", "memory")
_NODE_MORE = ("gpu", "flavor", "cluster", "levels", "count", "outages")
_PRIORITIES = {"low": -100, "normal": 0, "high": 100}
_TOPOLOGIES = ("any", "node", "rack")
_MOST_REPLICAS = 100_000
_DEFAULT_LIMIT = 86400


def read_jobs(file: Path) -> Trace:
    """Jobs in order of submission."""
    shapes = Shapes()
    jobs: dict[str, TraceJob] = {}
    for row in rows(file, _JOB, _JOB_MORE):
        job = _job(row, shapes)
        if job.id in jobs:
            raise row.wrong(f"job {job.id} is there twice")
        jobs[job.id] = job
    if not jobs:
        raise TraceError("has no jobs", file)
    return Trace(by_submission(jobs.values()))


def _job(row: Row, shapes: Shapes) -> TraceJob:
    need = Amount(row.parsed("cpu", parse_cpu, 1000), row.parsed("memory", parse_bytes), row.whole("gpu", 0))
    replicas = row.whole("replicas", 1, least=1)
    if replicas > _MOST_REPLICAS:
        raise row.wrong(f"replicas is {replicas}; at most {_MOST_REPLICAS} can be simulated")
    duration = row.number("duration")
    topology = row.text("topology", "any")
    if topology not in _TOPOLOGIES:
        raise row.wrong(f"topology is {topology!r}; there are {', '.join(_TOPOLOGIES)}")
    role = RoleShape("worker", replicas, need, _names(row.text("flavor")))
    return TraceJob(
        id=row.text("id") or _absent(row, "id"),
        submit=row.number("submit"),
        duration=duration,
        shape=shapes.one(one_role(role, topology=topology, clusters=_names(row.text("cluster")))),
        time_limit=row.parsed("time_limit", parse_seconds, max(_DEFAULT_LIMIT, math.ceil(duration))),
        group=row.text("group", "default"),
        owner=row.text("owner"),
        name=row.text("name"),
        priority=_priority(row),
        checkpoint=row.parsed("checkpoint", parse_seconds),
        line=row.line,
    )


def _absent(row: Row, column: str) -> str:
    raise row.wrong(f"{column} is empty")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split("|") if name.strip())


def _priority(row: Row) -> int:
    text = row.text("priority", "normal")
    if text in _PRIORITIES:
        return _PRIORITIES[text]
    try:
        return int(text)
    except ValueError:
        raise row.wrong(f"priority is {text!r}; give a whole number, low, normal or high") from None


def read_nodes(file: Path) -> Trace:
    """Nodes, and when they were away."""
    nodes: dict[tuple[str, str], NodeModel] = {}
    outages: list[Outage] = []
    for row in rows(file, _NODE, _NODE_MORE):
        for node in _node(row):
            if (node.cluster, node.name) in nodes:
                raise row.wrong(f"node {node.name} is there twice")
            nodes[node.cluster, node.name] = node
            outages += _outages(row, node)
    if not nodes:
        raise TraceError("has no nodes", file)
    return Trace((), tuple(nodes.values()), tuple(outages))


def _node(row: Row) -> list[NodeModel]:
    gpu = row.whole("gpu", 0)
    capacity = Amount(row.parsed("cpu", parse_cpu), row.parsed("memory", parse_bytes), gpu)
    name, count = row.text("name") or _absent(row, "name"), row.whole("count", 1, least=1)
    cluster = row.text("cluster", CLUSTER)
    flavor = row.text("flavor", "gpu" if gpu else "cpu")
    levels = tuple(level for level in row.text("levels").split("/") if level)
    names = [name] if count == 1 else [f"{name}-{number}" for number in range(count)]
    return [NodeModel(cluster, each, flavor, capacity, levels=levels) for each in names]


def _outages(row: Row, node: NodeModel) -> list[Outage]:
    found: list[Outage] = []
    for text in row.text("outages").split(";"):
        if not text.strip():
            continue
        first, dash, last = text.partition("-")
        try:
            start, end = float(first), float(last) if last.strip() else float("inf")
        except ValueError:
            start, end = 0.0, -1.0
        if not dash or not 0 <= start < end:
            raise row.wrong(
                f"outages has {text.strip()!r}; write 3600-7200;90000- (seconds, open at the end)"
            )
        if found and start <= found[-1].end:
            raise row.wrong(f"outages has {text.strip()!r}, which starts before the one before it ends")
        found.append(Outage(node.cluster, node.name, start, end))
    return found

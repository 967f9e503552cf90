"""How much is asked for, and a cluster cut so small that it is as busy as one wants."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..queue.model import Amount, NodeModel, RoleShape
from .trace import Trace, TraceError, TraceJob

__all__ = ["cut", "offered"]


def offered(trace: Trace) -> float:
    """GPU time asked for over the GPU time there is between the first and the last submission.

    Cores stand in for GPUs where no node has any.
    """
    there = sum(_size(node.capacity, trace) for node in trace.nodes)
    return _asked(trace) / there if there else float("inf")


def _size(amount: Amount, trace: Trace) -> int:
    return amount.gpu if trace.gpus else amount.cpu


def _asked(trace: Trace) -> float:
    """GPUs (or thousandths of cores) that would be busy on average if nothing waited."""
    window = trace.jobs[-1].submit - trace.jobs[0].submit
    if window <= 0:
        raise TraceError("all jobs come at one time, so there is no load to speak of: leave out --load")
    work = 0.0
    for job in trace.jobs:
        time = min(job.duration, job.time_limit) if job.time_limit else job.duration
        work += time * _size(job.shape.total, trace)
    return work / window


def cut(trace: Trace, load: float, seed: int = 0) -> Trace:
    """Keep only as many nodes as make the offered load what it should be.

    Nodes are kept in a seeded random order; first as many of one flavor as the largest job needs, which must
    still fit on the empty cluster.

    Raises
    ------
    TraceError
        If the jobs ask for more than all nodes give at that load.
    """
    if load <= 0:
        raise TraceError(f"a load of {load:g} cannot be offered: give a number above 0, such as 0.9")
    wanted = _asked(trace) / load
    order = list(trace.nodes)
    random.Random(seed).shuffle(order)  # noqa: S311 - a seeded choice, no secret
    kept = _for_the_largest(order, trace.jobs)
    have = sum(_size(node.capacity, trace) for node in kept)
    chosen = {id(node) for node in kept}
    for node in order:
        size = _size(node.capacity, trace)
        # Whichever of having this node or not comes closer to what is wanted.
        if id(node) not in chosen and size and have + size / 2 <= wanted:
            kept.append(node)
            have += size
    nodes = tuple(sorted(kept, key=lambda node: (node.cluster, node.name)))
    names = {(node.cluster, node.name) for node in nodes}
    outages = tuple(outage for outage in trace.outages if (outage.cluster, outage.node) in names)
    result = replace(trace, nodes=nodes, outages=outages)
    note = f"{len(nodes)} of {len(trace.nodes)} nodes are kept for an offered load of {offered(result):.2f}"
    return replace(result, notes=(*trace.notes, note))


def _for_the_largest(order: Sequence[NodeModel], jobs: Iterable[TraceJob]) -> list[NodeModel]:
    """Nodes on which every job fits alone, if it fits at all."""
    flavors: dict[str, list[NodeModel]] = {}
    for node in order:
        flavors.setdefault(node.flavor, []).append(node)
    largest = sorted(flavors, key=lambda flavor: (-sum(n.capacity.gpu for n in flavors[flavor]), flavor))
    kept: dict[str, list[NodeModel]] = {flavor: [] for flavor in flavors}
    shapes = {job.shape for job in jobs}
    for shape in sorted(shapes, key=lambda s: (-s.total.gpu, -s.total.cpu, -s.total.memory)):
        for role in shape.roles:
            able = [f for f in largest if (not role.flavors or f in role.flavors) and _fits(role, flavors[f])]
            if not able or any(_fits(role, kept[flavor]) for flavor in able):
                continue
            mine, there = kept[able[0]], set(map(id, kept[able[0]]))
            for node in flavors[able[0]]:
                if id(node) not in there and _room(role, node):
                    mine.append(node)
                    if _fits(role, mine):
                        break
    return [node for nodes in kept.values() for node in nodes]


def _fits(role: RoleShape, nodes: Sequence[NodeModel]) -> bool:
    return sum(_room(role, node) for node in nodes) >= role.replicas


def _room(role: RoleShape, node: NodeModel) -> int:
    """Replicas that an empty node takes."""
    need, have = role.need, node.capacity
    counts = [
        have_ // need_
        for need_, have_ in ((need.cpu, have.cpu), (need.memory, have.memory), (need.gpu, have.gpu))
        if need_
    ]
    return min(counts, default=role.replicas)

"""Why nodes do not hold a workload, ever or now: the numbers as a sentence."""

from __future__ import annotations

import math

import numpy as np

from footplate_spec.reasons import Reason, ReasonCode
from footplate_spec.units import format_seconds

from .fit import feasible
from .model import Amount, Reservation, Shape
from .nodes import Mask, Nodes, Room, vector
from .prospects import Prospect
from .quota import RESOURCES
from .ways import Option, demand
from .words import amount_words, list_words, need_words, quantity

__all__ = ["never", "no_room", "no_way", "reserved", "room_made", "short_of", "unexplained", "with_start"]


def never(nodes: Nodes, prospect: Prospect, option: Option) -> Reason:
    """Why it would not start even on empty nodes."""
    shape = prospect.shape
    everywhere = np.ones(len(nodes), np.bool_)
    where = _where(nodes, option)
    if not feasible(nodes, nodes.capacity, everywhere, shape, option):
        return _too_large(nodes, shape, option, where)
    if not feasible(nodes, nodes.capacity, prospect.allowed, shape, option):
        left, count = int((prospect.allowed & where).sum()), int(where.sum())
        return Reason(
            code=ReasonCode.NODES_EXCLUDED,
            message=f"Needs {need_words(shape)}; of {count} nodes with flavor {_flavors(option)}, its "
            f"exclusions and labels leave {left}, which cannot hold it.",
            numbers={"nodes": count, "left": left},
        )
    out = [
        f"{node.name} ({node.unusable})"
        for i, node in enumerate(nodes.models)
        if node.unusable is not None and where[i] and prospect.allowed[i]
    ]
    return Reason(
        code=ReasonCode.NODE_LOST,
        message=f"Needs {need_words(shape)}; without {list_words(out[:3])} "
        f"the nodes with flavor {_flavors(option)} cannot hold it.",
        numbers={"unusable": len(out)},
    )


def _too_large(nodes: Nodes, shape: Shape, option: Option, where: Mask) -> Reason:
    capacity = nodes.capacity[where]
    largest = Amount(*(int(value) for value in capacity.max(axis=0)))
    total = Amount(*(int(value) for value in capacity.sum(axis=0)))
    return Reason(
        code=ReasonCode.NO_MATCHING_FLAVOR,
        message=f"Needs {need_words(shape)}; the largest node with flavor {_flavors(option)} has "
        f"{amount_words(largest)}, all {int(where.sum())} together {amount_words(total)}.",
        numbers={"largest": _numbers(largest), "total": _numbers(total)},
    )


def no_way(nodes: Nodes, shape: Shape) -> Reason:
    """No cluster offers the flavors that were asked for, or enough GPUs on any."""
    clusters = nodes.clusters
    if shape.clusters and not set(shape.clusters) & set(clusters):
        message = (
            f"There is no cluster {list_words(list(shape.clusters), 'or')} with nodes; "
            f"there is {list_words(clusters) or 'none'}."
        )
        return Reason(code=ReasonCode.NO_MATCHING_FLAVOR, message=message, numbers={"clusters": clusters})
    there = [
        name
        for name in clusters
        if (not shape.clusters or name in shape.clusters)
        and (not shape.region or nodes.regions.get(name, "") == shape.region)
    ]
    if clusters and not there:
        regions = sorted({nodes.regions.get(name, "") for name in shape.clusters or clusters} - {""})
        message = (
            f"None of the clusters that it may use is in region {shape.region}; "
            f"{f'they are in {list_words(regions)}' if regions else 'they name no region'}."
        )
        return Reason(code=ReasonCode.NO_MATCHING_FLAVOR, message=message, numbers={"regions": regions})
    asked = sorted({flavor for role in shape.roles for flavor in role.flavors})
    flavors = sorted({flavor for cluster, flavor in nodes.pools if cluster in there})
    missing = [flavor for flavor in asked if flavor not in flavors]
    if missing:
        return Reason(
            code=ReasonCode.NO_MATCHING_FLAVOR,
            message=f"No node has flavor {list_words(missing, 'or')}; there is {list_words(flavors)}.",
            numbers={"flavors": flavors},
        )
    most = int(nodes.capacity[:, 2].max()) if len(nodes) else 0
    return Reason(
        code=ReasonCode.NO_MATCHING_FLAVOR,
        message=f"Needs {need_words(shape)}; no node has more than {quantity(most, 'gpu')}.",
        numbers={"largest": {"gpu": most}},
    )


def no_room(nodes: Nodes, prospect: Prospect, option: Option, free: Room, *, ends_in: float | None) -> Reason:
    """Not now: too little is free, or enough in all but not where it would have to be."""
    shape = prospect.shape
    where = prospect.mask & _where(nodes, option)
    left = Amount(*(int(value) for value in np.maximum(free[where], 0).sum(axis=0)))
    total = Amount(*(int(value) for value in nodes.capacity[where].sum(axis=0)))
    asked = shape.total
    short = short_of(nodes, prospect, option, free)
    numbers = {"needs": _numbers(asked), "free": _numbers(left), "total": _numbers(total)}
    ends = ""
    if ends_in is not None:
        ends = f"; the next job there ends within {format_seconds(max(ends_in, 1))}"
    if short:
        name = short[0]
        free_words = quantity(getattr(left, name), name).split(" ")[0]
        return Reason(
            code=ReasonCode.WAITING_FOR_CAPACITY,
            message=f"Needs {need_words(shape)}; {free_words} of {quantity(getattr(total, name), name)} "
            f"{'are' if name != 'memory' else 'is'} free on {_flavors(option)}{ends}.",
            numbers={**numbers, "short": short},
        )
    together = {"node": "on one node", "rack": "in one rack", "any": "together on the same nodes"}
    return Reason(
        code=ReasonCode.TOPOLOGY_PLACEMENT_FAILED,
        message=f"Needs {need_words(shape)}; {amount_words(left)} are free on {_flavors(option)} in all, "
        f"but not {together[shape.topology]}{ends}.",
        numbers=numbers,
    )


def short_of(nodes: Nodes, prospect: Prospect, option: Option, free: Room) -> list[str]:
    """Resources of which some flavor has less free in all than the gang takes of it."""
    short = set()
    for (cluster, flavor), asked in demand(prospect.shape, option).items():
        pool = nodes.pools[cluster, flavor]
        left = np.maximum(free[pool][prospect.mask[pool]], 0).sum(axis=0)
        short |= {name for name, some, has in zip(RESOURCES, vector(asked), left, strict=True) if some > has}
    return [name for name in ("gpu", "cpu", "memory") if name in short]


def with_start(reason: Reason, reservation: Reservation, now: float) -> Reason:
    """The same for the one for whom nodes are kept, with the time from which on they are."""
    within = format_seconds(max(reservation.start - now, 1))
    nodes = len({placement.node for placement in reservation.placements})
    kept = "a node is" if nodes == 1 else f"{nodes} nodes are"
    return reason.model_copy(
        update={
            "message": f"{reason.message[:-1]}; {kept} kept for it, and by the time limits of what runs "
            f"there it starts within {within}.",
            "numbers": {**reason.numbers, "start": reservation.start},
        }
    )


def reserved(option: Option, start: float, time_limit: int, now: float, *, closed: bool) -> Reason:
    """Room is free, and kept for those ahead."""
    numbers = {"start": start} if start != math.inf else {}
    if closed:
        message = f"There is room on {_flavors(option)}, but nobody may pass the job ahead in line."
    elif start == math.inf:
        message = (
            f"There is room on {_flavors(option)}, but it is kept for a job ahead in line that starts as "
            "soon as others have made more."
        )
    else:
        runs = f"may run for {format_seconds(time_limit)}" if time_limit else "has no time limit"
        message = (
            f"There is room on {_flavors(option)}, but it is kept for a job ahead in line that starts within "
            f"{format_seconds(max(start - now, 1))}, and this one {runs}."
        )
    return Reason(code=ReasonCode.RESERVED_FOR_AHEAD, message=message, numbers=numbers)


def room_made(stopping: int, victims: int) -> Reason:
    """Others stop for it."""
    count = stopping + victims
    who = "1 job makes" if count == 1 else f"{count} jobs make"
    return Reason(
        code=ReasonCode.WAITING_FOR_PREEMPTED_WORKLOADS,
        message=f"{who} room for it: told to save and to stop, and it starts when that is done.",
        numbers={"stopping": count},
    )


def unexplained() -> Reason:
    """What a pass never leaves."""
    return Reason(code=ReasonCode.PENDING_EVALUATION, message="The queue has not looked at this job yet.")


def _where(nodes: Nodes, option: Option) -> Mask:
    mask = np.zeros(len(nodes), np.bool_)
    for place in option.places:
        mask[nodes.pools[place]] = True
    return mask


def _needs(shape: Shape) -> str:
    return need_words(shape)


def _flavors(option: Option) -> str:
    return list_words(sorted(set(option.flavors)))


def _numbers(amount: Amount) -> dict[str, int]:
    return {"cpu": amount.cpu, "memory": amount.memory, "gpu": amount.gpu}

"""Why nodes do not hold a workload now: the numbers as a sentence, and when they will."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from footplate_spec.reasons import Reason, ReasonCode
from footplate_spec.units import format_about, format_seconds

from .fit import room_for
from .model import Amount, Reservation, RoleShape, Shape
from .never import numbers_of, where
from .nodes import Mask, Nodes, Room, vector
from .prospects import Prospect
from .ways import Option, demand
from .words import RESOURCES, amount_words, bare, list_words, need_words, quantity

__all__ = ["no_room", "reserved", "room_made", "short_of", "unexplained", "with_end", "with_start"]


def no_room(nodes: Nodes, prospect: Prospect, option: Option, free: Room, *, ends_in: float | None) -> Reason:
    """Not now: too little is free, or enough in all but not where it would have to be."""
    shape = prospect.shape
    pool = prospect.mask & where(nodes, option)
    left = Amount(*(int(value) for value in np.maximum(free[pool], 0).sum(axis=0)))
    total = Amount(*(int(value) for value in nodes.capacity[pool].sum(axis=0)))
    short = short_of(nodes, prospect, option, free)
    numbers: dict[str, Any] = {
        "needs": numbers_of(shape.total),
        "free": numbers_of(left),
        "total": numbers_of(total),
    }
    numbers |= {"ends_in": max(math.ceil(ends_in), 1)} if ends_in is not None else {}
    if short:
        return Reason(
            code=ReasonCode.WAITING_FOR_CAPACITY,
            message=f"Needs {need_words(shape, short[:1])}; {_of(left, total, short[0])} free on "
            f"{_flavors(option)}.",
            numbers={**numbers, "short": short},
        )
    names = ["gpu"] if shape.total.gpu else [name for name in RESOURCES if getattr(shape.total, name)]
    return Reason(
        code=ReasonCode.TOPOLOGY_PLACEMENT_FAILED,
        message=f"Needs {need_words(shape, names)}{_near(shape)}; {_are(amount_words(left, names))} free on "
        f"{_flavors(option)}, but {_apart(nodes, shape, option, free, pool)}.",
        numbers=numbers,
    )


def _of(left: Amount, total: Amount, name: str) -> str:
    has = bare(getattr(left, name), name)
    return f"{has} of {bare(getattr(total, name), name)} {'is' if name == 'memory' or has == '1' else 'are'}"


def _are(words: str) -> str:
    return f"{words} {'is' if words == '1 GPU' else 'are'}"


def _near(shape: Shape) -> str:
    """How close together its replicas must be."""
    several = sum(role.replicas for role in shape.roles) > 1
    if shape.topology == "rack" and several:
        return " in one rack"
    if shape.topology == "node" or not several:
        return " on one node"
    return ", each on one node"


def _apart(nodes: Nodes, shape: Shape, option: Option, free: Room, pool: Mask) -> str:
    """How much is free at one place at most."""
    if len(shape.roles) > 1:
        return "not for all of its roles at one time"
    [role], room = shape.roles, free[pool]
    if shape.topology == "rack" and role.replicas > 1:
        in_rack = np.bincount(nodes.domains[0][pool], weights=room_for(room, vector(role.need)))
        return f"no rack has room for more than {int(in_rack.max(initial=0))} of its {role.replicas} replicas"
    counts = room_for(room, vector(role.need))
    if role.replicas > 1:
        if shape.topology == "node":
            return (
                f"no node has room for more than {int(counts.max(initial=0))} of its {role.replicas} replicas"
            )
        return f"there is room for only {int(counts.sum())} of its {role.replicas} replicas"
    return _on_one_node(nodes, role, free, pool)


def _on_one_node(nodes: Nodes, role: RoleShape, free: Room, pool: Mask) -> str:
    """Of what it asks for, that of which no node has enough; else what the best of them has too little of."""
    rows = np.flatnonzero(pool)
    most = Amount(*(int(value) for value in np.maximum(free[rows], 0).max(axis=0)))
    for name in RESOURCES:
        has = getattr(most, name)
        if getattr(role.need, name) > has:
            return f"at most {bare(has, name) if name == 'gpu' else quantity(has, name)} on one node"
    rows = rows[free[rows, 2] >= role.need.gpu]
    share = np.minimum(*(free[rows, n] / max(vector(role.need)[n], 1) for n in (0, 1)))
    best = rows[int(share.argmax())]
    lacks = [name for n, name in ((0, "cpu"), (1, "memory")) if free[best, n] < vector(role.need)[n]]
    left = Amount(*(int(value) for value in np.maximum(free[best], 0)))
    return f"the best node, {nodes.names[best]}, has only {amount_words(left, lacks)} left"


def short_of(nodes: Nodes, prospect: Prospect, option: Option, free: Room) -> list[str]:
    """Resources of which some flavor has less free in all than the gang takes of it."""
    short = set()
    for (cluster, flavor), asked in demand(prospect.shape, option).items():
        pool = nodes.pools[cluster, flavor]
        left = np.maximum(free[pool][prospect.mask[pool]], 0).sum(axis=0)
        need = vector(asked)
        short |= {name for n, name in enumerate(("cpu", "memory", "gpu")) if need[n] > left[n]}
    return [name for name in RESOURCES if name in short]


def with_end(reason: Reason) -> Reason:
    """The same with the time at which the next job there ends, if that is known."""
    if "ends_in" not in reason.numbers:
        return reason
    ends = f"The next job there ends within {format_about(reason.numbers['ends_in'])}."
    return reason.model_copy(update={"message": f"{reason.message} {ends}"})


def with_start(reason: Reason, reservation: Reservation, now: float) -> Reason:
    """The same for the one for whom nodes are kept, with the time from which on they are."""
    within = format_about(reservation.start - now)
    nodes = len({placement.node for placement in reservation.placements})
    kept = "A node is" if nodes == 1 else f"{nodes} nodes are"
    return reason.model_copy(
        update={
            "message": f"{reason.message} {kept} kept for it: by the time limits of what runs there it "
            f"starts within {within}.",
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
            f"{format_about(start - now)}, and this one {runs}."
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


def _flavors(option: Option) -> str:
    return list_words(sorted(set(option.flavors)))

"""Who stays: everyone is decided once, with a reason, and nobody who could start is forgotten."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

from footplate_hub.queue.model import Plan, Snapshot, Workload

from .oracle import Moment, held_by, starts, uses_of, waiting_of
from .reserved import busy_until, delays, end_of
from .room import free_room, gangs, permitted, ways
from .tree import Use, above, broken, person_broken

__all__ = ["everyone_once", "nobody_forgotten", "nobody_overtaken"]

MOST_TRIED = 3000  # placements tried for one way of one workload


def everyone_once(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
    decided = Counter(a.workload.id for a in plan.admit)
    decided.update(w.id for blocked in plan.blocked for w in blocked.workloads)
    everyone = waiting_of(snapshot)
    for name in everyone:
        if decided[name] != 1:
            yield f"{name} is decided {decided[name]} times"
    for name in decided:
        if name not in everyone:
            yield f"{name} is decided but does not wait"
    for blocked in plan.blocked:
        names = [w.id for w in blocked.workloads]
        if blocked.reason.code.value == "PendingEvaluation" or not blocked.reason.message:
            yield f"{names} have no reason"
        if blocked.reason.code != blocked.code:
            yield f"{names} are told {blocked.reason.code}, and counted as {blocked.code}"
    for admission in plan.admit:
        if admission.workload != everyone.get(admission.workload.id):
            yield f"{admission.workload.id} is admitted as something else"


def nobody_overtaken(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
    """Of those who are alike, nobody starts before one who ranks first and runs no longer."""
    admitted = {a.workload.id: a.workload for a in plan.admit}
    for first in waiting_of(snapshot).values():
        if first.id in admitted or first.waits is not None:
            continue
        for other in admitted.values():
            alike = (first.group, first.shape, first.owner) == (other.group, other.shape, other.owner)
            if alike and first.rank < other.rank and end_of(first, now) <= end_of(other, now):
                yield f"{other.id} starts before {first.id}, which is alike and ranks first"


def nobody_forgotten(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
    """A blocked workload that could start, all admitted ones placed, would break a reservation or pass."""
    moment = Moment(
        uses_of(snapshot, [Use(a.workload.group, a.workload.owner, a.placements) for a in plan.admit])
    )
    busy = busy_until(snapshot, now, plan)
    waiting = waiting_of(snapshot)
    preemptors = {p.workload for p in plan.preempt}
    kept = _kept_pools(snapshot, plan)
    for workload in waiting.values():
        if workload.id in {a.workload.id for a in plan.admit} or workload.id in preemptors:
            continue
        if not starts(snapshot, workload, moment):
            continue
        others = [r for r in plan.reserve if r.workload != workload.id and r.workload in waiting]
        for placements in _startable(snapshot, workload, moment):
            if {(p.cluster, p.flavor) for p in placements} & kept.get(workload.id, set()):
                continue
            mine = (end_of(workload, now), Use(workload.group, workload.owner, placements))
            if not any(delays(snapshot, r, waiting[r.workload], busy, mine) for r in others):
                code = plan.reasons[workload.id].code if workload.id in plan.reasons else "nothing"
                where = sorted(f"{p.cluster}/{p.node}" for p in placements)
                yield f"{workload.id} waits ({code}) but could start on {where}"
                break


def _startable(snapshot: Snapshot, workload: Workload, moment: Moment) -> Iterator[tuple]:
    free = free_room(snapshot, moment.placements)
    for way in ways(snapshot, workload.shape):
        if held_by(snapshot, workload.group, way.cluster):
            continue
        nodes = permitted(snapshot, workload.shape, way.cluster)
        for placements in itertools.islice(gangs(workload.shape, way, nodes, free), MOST_TRIED):
            start = Use(workload.group, workload.owner, placements)
            if broken(snapshot, moment.uses, start) or person_broken(snapshot, moment.uses, start):
                break
            yield placements


def _kept_pools(snapshot: Snapshot, plan: Plan) -> dict[str, set[tuple[str, str]]]:
    """For each workload, pools in which the policy lets it pass nobody, or which wait for a preemptor."""
    waiting = waiting_of(snapshot)
    rooms = {
        "WaitingForCapacity",
        "TopologyPlacementFailed",
        "ReservedForAhead",
        "WaitingForPreemptedWorkloads",
    }
    kept: dict[str, set[tuple[str, str]]] = {name: set() for name in waiting}
    for ahead in waiting.values():
        reason = plan.reasons.get(ahead.id)
        if reason is None or reason.code.value not in rooms:
            continue
        for way in ways(snapshot, ahead.shape):
            stops = reason.code.value == "WaitingForPreemptedWorkloads" or not _backfills(
                snapshot, ahead.group, way.cluster
            )
            if stops:
                for other in waiting.values():
                    if other.id != ahead.id:
                        kept[other.id] |= {(way.cluster, flavor) for flavor in way.flavors}
    return kept


def _backfills(snapshot: Snapshot, group: str, cluster: str) -> bool:
    for name in above(group):
        if name in snapshot.groups and snapshot.groups[name].policy is not None:
            return snapshot.groups[name].policy.backfill
    if cluster in snapshot.clusters and snapshot.clusters[cluster].policy is not None:
        return snapshot.clusters[cluster].policy.backfill
    return True

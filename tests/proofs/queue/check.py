"""What must hold of every plan, said one sentence at a time; each finding is a sentence too."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

from footplate_hub.queue.model import Admission, NodeModel, Plan, Reservation, RoleShape, Snapshot, Workload

from .oracle import Moment, held_by, starts, uses_of
from .preempt import preemption_violations
from .room import NEVER, RESOURCES, ends_of, free_room, gangs, permitted, standing, ways
from .tree import Use, above, broken, person_broken

__all__ = ["violations"]

MOST_TRIED = 3000  # placements tried for one way of one workload


def violations(snapshot: Snapshot, now: float, plan: Plan) -> list[str]:
    """Everything that is wrong with a plan."""
    return [
        sentence
        for find in (
            _everyone_once,
            _gangs_whole,
            _places_permitted,
            _nodes_not_oversubscribed,
            _limits_kept,
            _holds_respected,
            preemption_violations,
            _reservations_real,
            _reservations_kept,
            _nobody_forgotten,
        )
        for sentence in find(snapshot, now, plan)
    ]


def _waiting(snapshot: Snapshot) -> dict[str, Workload]:
    return {workload.id: workload for line in snapshot.lines for workload in line.workloads}


def _everyone_once(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
    decided = Counter(a.workload.id for a in plan.admit)
    decided.update(w.id for blocked in plan.blocked for w in blocked.workloads)
    everyone = _waiting(snapshot)
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
    for admission in plan.admit:
        if admission.workload != everyone.get(admission.workload.id):
            yield f"{admission.workload.id} is admitted as something else"


def _gangs_whole(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
    for admission in plan.admit:
        name = admission.workload.id
        roles = {role.name: role for role in admission.workload.shape.roles}
        if any(placement.role not in roles for placement in admission.placements):
            yield f"{name} has a role that it did not ask for"
            continue
        for role in roles.values():
            mine = [p for p in admission.placements if p.role == role.name]
            if not role.replicas <= len(mine) <= max(role.replicas, role.most or 0):
                yield f"{name} has {len(mine)} of role {role.name}, which asks {role.replicas} to {role.most}"
            if sorted(p.index for p in mine) != list(range(len(mine))):
                yield f"{name} numbers role {role.name} {sorted(p.index for p in mine)}"
            if any(p.need != role.need for p in mine):
                yield f"{name} gets other amounts than role {role.name} needs"
            if len({p.flavor for p in mine}) > 1:
                yield f"{name} mixes flavors in role {role.name}"


def _places_permitted(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
    for admission in plan.admit:
        yield from _misplaced(snapshot, admission)


def _misplaced(snapshot: Snapshot, admission: Admission) -> Iterator[str]:
    shape, name = admission.workload.shape, admission.workload.id
    possible = {
        (way.cluster, role.name, f) for way in ways(snapshot, shape) for role, f in _uses(shape.roles, way)
    }
    nodes = {n.name: n for n in permitted(snapshot, shape, admission.cluster)}
    hosts: list[NodeModel] = []
    for placement in admission.placements:
        node = nodes.get(placement.node)
        if placement.cluster != admission.cluster or node is None:
            yield f"{name} is placed on {placement.cluster}/{placement.node}, which it may not use"
        elif node.flavor != placement.flavor:
            yield f"{name} is placed on {node.name} as {placement.flavor}; it is {node.flavor}"
        elif (placement.cluster, placement.role, placement.flavor) not in possible:
            yield f"{name} may not use {placement.flavor} on {placement.cluster} for {placement.role}"
        else:
            hosts.append(node)
    sets = standing(list(nodes.values()), shape.topology)
    if hosts and not any(all(host in together for host in hosts) for together in sets):
        yield f"{name} asks topology {shape.topology} and got {sorted({host.name for host in hosts})}"


def _uses(roles: tuple[RoleShape, ...], way: object) -> Iterator[tuple[RoleShape, str]]:
    yield from zip(roles, way.flavors, strict=True)  # type: ignore[attr-defined]


def _nodes_not_oversubscribed(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
    before = [p for r in snapshot.running for p in r.placements]
    started = [p for a in plan.admit for p in a.placements]
    for node in snapshot.nodes:
        key = (node.cluster, node.name)
        for resource in RESOURCES:
            had = sum(getattr(p.need, resource) for p in before if (p.cluster, p.node) == key)
            gets = sum(getattr(p.need, resource) for p in started if (p.cluster, p.node) == key)
            has = getattr(node.capacity, resource)
            if gets and had + gets > has:
                yield f"{node.name} has {has} {resource} and is given {had + gets}"


def _limits_kept(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
    uses = list(uses_of(snapshot))
    for admission in plan.admit:
        start = Use(admission.workload.group, admission.workload.owner, admission.placements)
        for statement in sorted(broken(snapshot, uses, start), key=str):
            yield f"{admission.workload.id} breaks the quota {statement}"
        if person_broken(snapshot, uses, start):
            yield f"{admission.workload.id} is more than {start.owner!r} may have"
        uses.append(start)


def _holds_respected(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
    for admission in plan.admit:
        workload = admission.workload
        if workload.waits is not None:
            yield f"{workload.id} starts although it is {workload.waits.code}"
        for code in held_by(snapshot, workload.group, admission.cluster):
            yield f"{workload.id} starts although its cluster or group is {code}"


# Reservations


def busy_until(snapshot: Snapshot, now: float, plan: Plan) -> list[tuple[float, Use]]:
    """All that runs or starts, with the time by which its limit ends it."""
    held = [(ends_of(r, now), Use(r.group, r.owner, r.placements)) for r in snapshot.running]
    for admission in plan.admit:
        w = admission.workload
        held.append((_end(w, now), Use(w.group, w.owner, admission.placements)))
    return held


def _end(workload: Workload, start: float) -> float:
    return start + workload.time_limit if workload.time_limit else NEVER


def _reservations_real(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
    waiting = _waiting(snapshot)
    admitted = {a.workload.id for a in plan.admit}
    taken = Counter(reservation.workload for reservation in plan.reserve)
    for reservation in plan.reserve:
        name = reservation.workload
        if name not in waiting or name in admitted:
            yield f"{name} has a reservation and does not wait"
            continue
        if taken[name] > 1:
            yield f"{name} has {taken[name]} reservations"
        if reservation.start < now:
            yield f"{name} is to start at {reservation.start}, before now"
        as_admitted = Admission(waiting[name], reservation.cluster, reservation.placements)
        yield from (f"reserved: {sentence}" for sentence in _misplaced(snapshot, as_admitted))
        alone = Plan(admit=(as_admitted,))
        yield from (f"reserved: {sentence}" for sentence in _gangs_whole(snapshot, now, alone))


def _reservations_kept(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
    """At its start, when all has ended that limits end by then, what is reserved is free."""
    busy = busy_until(snapshot, now, plan)
    waiting = _waiting(snapshot)
    for reservation in plan.reserve:
        if reservation.workload not in waiting:
            continue
        still = [use for end, use in busy if end > reservation.start]
        holder = waiting[reservation.workload]
        kept = Use(holder.group, holder.owner, reservation.placements)
        lacking = [str(statement) for statement in broken(snapshot, still, kept)]
        if person_broken(snapshot, still, kept):
            lacking.append(f"{holder.owner} has too much")
        for sentence in [*_taken_from(snapshot, reservation, busy), *lacking]:
            yield f"the reservation of {reservation.workload} at {reservation.start} is delayed: {sentence}"


def _taken_from(snapshot: Snapshot, reservation: Reservation, busy: list[tuple[float, Use]]) -> Iterator[str]:
    still = [p for end, use in busy if end > reservation.start for p in use.placements]
    capacity = {(n.cluster, n.name): n.capacity for n in snapshot.nodes}
    for key in sorted({(p.cluster, p.node) for p in reservation.placements}):
        for resource in RESOURCES:
            asked = sum(
                getattr(p.need, resource) for p in reservation.placements if (p.cluster, p.node) == key
            )
            held = sum(getattr(p.need, resource) for p in still if (p.cluster, p.node) == key)
            has = getattr(capacity[key], resource) if key in capacity else 0
            if asked and asked + held > has:
                yield f"{key[1]} has {has} {resource}, {held} still used and {asked} reserved"


# Nobody who could start stays


def _nobody_forgotten(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
    """A blocked workload that could start, all admitted ones placed, would break a reservation or pass."""
    moment = Moment(
        uses_of(snapshot, [Use(a.workload.group, a.workload.owner, a.placements) for a in plan.admit])
    )
    busy = busy_until(snapshot, now, plan)
    waiting = _waiting(snapshot)
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
            mine = (_end(workload, now), Use(workload.group, workload.owner, placements))
            if not any(_delays(snapshot, r, waiting[r.workload], busy, mine) for r in others):
                code = plan.reasons[workload.id].code if workload.id in plan.reasons else "nothing"
                where = sorted(f"{p.cluster}/{p.node}" for p in placements)
                yield f"{workload.id} waits ({code}) but could start on {where}"
                break


def _delays(
    snapshot: Snapshot,
    reservation: Reservation,
    holder: Workload,
    busy: list[tuple[float, Use]],
    mine: tuple[float, Use],
) -> bool:
    """Whether one more that starts now takes nodes, quota or a person's share from a reservation."""
    if mine[0] <= reservation.start:
        return False
    if any(True for _ in _taken_from(snapshot, reservation, [*busy, mine])):
        return True
    kept = Use(holder.group, holder.owner, reservation.placements)
    uses = [use for _, use in busy]
    return bool(broken(snapshot, [*uses, mine[1]], kept)) or person_broken(snapshot, [*uses, mine[1]], kept)


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
    waiting = _waiting(snapshot)
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

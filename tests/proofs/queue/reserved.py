"""Reservations: real, kept by all who start or pass, and, for the first who waits, the earliest there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from footplate_hub.queue.model import Admission, Plan, Reservation, Snapshot, Workload

from .oracle import by_rank, held_by, waiting_of, wherever
from .room import NEVER, RESOURCES, ends_of, free_room, gangs, permitted, ways
from .started import gangs_whole, misplaced
from .tree import Use, broken, person_broken

__all__ = [
    "busy_until",
    "delays",
    "end_of",
    "first_promised_the_earliest",
    "reservations_kept",
    "reservations_real",
]


def busy_until(snapshot: Snapshot, now: float, plan: Plan) -> list[tuple[float, Use]]:
    """All that runs or starts, with the time by which its limit ends it."""
    held = [(ends_of(r, now), Use(r.group, r.owner, r.placements)) for r in snapshot.running]
    for admission in plan.admit:
        w = admission.workload
        held.append((end_of(w, now), Use(w.group, w.owner, admission.placements)))
    return held


def end_of(workload: Workload, start: float) -> float:
    return start + workload.time_limit if workload.time_limit else NEVER


def reservations_real(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
    waiting = waiting_of(snapshot)
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
        yield from (f"reserved: {sentence}" for sentence in misplaced(snapshot, as_admitted))
        alone = Plan(admit=(as_admitted,))
        yield from (f"reserved: {sentence}" for sentence in gangs_whole(snapshot, now, alone))


def reservations_kept(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
    """At its start, when all has ended that limits end by then, what is reserved is free."""
    busy = busy_until(snapshot, now, plan)
    waiting = waiting_of(snapshot)
    for reservation in plan.reserve:
        if reservation.workload not in waiting:
            continue
        still = [use for end, use in busy if end > reservation.start]
        holder = waiting[reservation.workload]
        kept = Use(holder.group, holder.owner, reservation.placements)
        lacking = [str(statement) for statement in broken(snapshot, still, kept)]
        if person_broken(snapshot, still, kept):
            lacking.append(f"{holder.owner} has too much")
        for sentence in [*taken_from(snapshot, reservation, busy), *lacking]:
            yield f"the reservation of {reservation.workload} at {reservation.start} is delayed: {sentence}"


def taken_from(snapshot: Snapshot, reservation: Reservation, busy: list[tuple[float, Use]]) -> Iterator[str]:
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


def first_promised_the_earliest(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
    """The first that waits for room has a reservation, at the first time at which it fits by time limits."""
    waiting = waiting_of(snapshot)
    if plan.preempt or not by_rank(snapshot) or any(w.owed for w in waiting.values()):
        return
    rooms = {"WaitingForCapacity", "TopologyPlacementFailed"}
    short = [waiting[name] for name, reason in plan.reasons.items() if reason.code.value in rooms]
    if not short:
        return
    first = min(short, key=lambda w: w.rank)
    ahead = [
        (end_of(a.workload, now), Use(a.workload.group, a.workload.owner, a.placements))
        for a in plan.admit
        if a.workload.rank < first.rank
    ]
    busy = [(ends_of(r, now), Use(r.group, r.owner, r.placements)) for r in snapshot.running] + ahead
    told = min((r.start for r in plan.reserve if r.workload == first.id), default=NEVER)
    earliest = _earliest(snapshot, first, now, busy)
    if told > earliest:
        yield f"{first.id} is the first that waits for room and is promised {told}, not {earliest}"


def _earliest(snapshot: Snapshot, workload: Workload, now: float, busy: list[tuple[float, Use]]) -> float:
    for when in sorted({max(end, now) for end, _ in busy if end < NEVER}):
        free = free_room(snapshot, [p for end, use in busy if end > when for p in use.placements])
        for way in ways(snapshot, workload.shape):
            nodes = permitted(snapshot, workload.shape, way.cluster)
            start = Use(workload.group, workload.owner, wherever(workload, way))
            uses = [use for _, use in busy]
            possible = not held_by(snapshot, workload.group, way.cluster) and not broken(
                snapshot, uses, start
            )
            if possible and next(gangs(workload.shape, way, nodes, free), None) is not None:
                return when
    return NEVER


def delays(
    snapshot: Snapshot,
    reservation: Reservation,
    holder: Workload,
    busy: list[tuple[float, Use]],
    mine: tuple[float, Use],
) -> bool:
    """Whether one more that starts now takes nodes, quota or a person's share from a reservation."""
    if mine[0] <= reservation.start:
        return False
    if any(True for _ in taken_from(snapshot, reservation, [*busy, mine])):
        return True
    kept = Use(holder.group, holder.owner, reservation.placements)
    uses = [*(use for end, use in busy if end > reservation.start), mine[1]]
    return bool(broken(snapshot, uses, kept)) or person_broken(snapshot, uses, kept)

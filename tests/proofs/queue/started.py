"""Who starts: whole gangs, where they may be, within what nodes, quotas and persons have."""

from __future__ import annotations

from collections.abc import Iterator

from footplate_hub.queue.model import Admission, NodeModel, Plan, Snapshot

from .oracle import held_by, uses_of
from .room import RESOURCES, permitted, standing, ways
from .tree import Use, broken, person_broken

__all__ = [
    "gangs_whole",
    "holds_respected",
    "limits_kept",
    "misplaced",
    "nodes_not_oversubscribed",
    "places_permitted",
]


def gangs_whole(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
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


def places_permitted(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
    for admission in plan.admit:
        yield from misplaced(snapshot, admission)


def misplaced(snapshot: Snapshot, admission: Admission) -> Iterator[str]:
    shape, name = admission.workload.shape, admission.workload.id
    possible = {
        (way.cluster, role.name, flavor)
        for way in ways(snapshot, shape)
        for role, flavor in zip(shape.roles, way.flavors, strict=True)
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


def nodes_not_oversubscribed(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
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


def limits_kept(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
    uses = list(uses_of(snapshot))
    for admission in plan.admit:
        start = Use(admission.workload.group, admission.workload.owner, admission.placements)
        for statement in sorted(broken(snapshot, uses, start), key=str):
            yield f"{admission.workload.id} breaks the quota {statement}"
        if person_broken(snapshot, uses, start):
            yield f"{admission.workload.id} is more than {start.owner!r} may have"
        uses.append(start)


def holds_respected(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
    for admission in plan.admit:
        workload = admission.workload
        if workload.waits is not None:
            yield f"{workload.id} starts although it is {workload.waits.code}"
        for code in held_by(snapshot, workload.group, admission.cluster):
            yield f"{workload.id} starts although its cluster or group is {code}"

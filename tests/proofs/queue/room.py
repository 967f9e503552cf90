"""Where a gang fits, by trying: plain loops over whole numbers, for the few nodes of a proof's world.

Nothing here is shared with ``footplate_hub.queue`` but the dataclasses; it is meant to be obviously right,
not fast.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from footplate_hub.queue.model import Amount, NodeModel, Placement, Running, Shape, Snapshot

__all__ = [
    "RESOURCES",
    "Free",
    "Way",
    "ends_of",
    "enough_in_all",
    "free_room",
    "gangs",
    "matches",
    "permitted",
    "standing",
    "ways",
]

RESOURCES = ("cpu", "memory", "gpu")
NEVER = float("inf")
ENOUGH = 10**9  # replicas that fit where nothing is asked for

Key = tuple[str, str]  # cluster, node
Free = dict[Key, dict[str, int]]


@dataclass(frozen=True)
class Way:
    """A cluster, and for each role the flavor that it would use there."""

    cluster: str
    flavors: tuple[str, ...]


def free_room(snapshot: Snapshot, used: Iterable[Placement]) -> Free:
    """What each node has left, never below nothing (a node may shrink below its load)."""
    left = {
        (node.cluster, node.name): {name: getattr(node.capacity, name) for name in RESOURCES}
        for node in snapshot.nodes
    }
    for placement in used:
        room = left.get((placement.cluster, placement.node))
        if room is not None:
            for name in RESOURCES:
                room[name] -= getattr(placement.need, name)
    return {key: {name: max(0, value) for name, value in room.items()} for key, room in left.items()}


def ends_of(attempt: Running, now: float) -> float:
    """By when its time limit ends it."""
    if attempt.ends is not None:
        return attempt.ends
    return now + attempt.time_limit if attempt.time_limit else NEVER


def ways(snapshot: Snapshot, shape: Shape) -> Iterator[Way]:
    """Every cluster and choice of flavors that the workload itself permits."""
    for cluster in sorted({node.cluster for node in snapshot.nodes}):
        if shape.clusters and cluster not in shape.clusters:
            continue
        model = snapshot.clusters.get(cluster)
        region = model.region if model is not None else ""
        if shape.region and shape.region != region:
            continue
        offered = sorted({node.flavor for node in snapshot.nodes if node.cluster == cluster})
        choices = [[f for f in offered if not role.flavors or f in role.flavors] for role in shape.roles]
        for flavors in itertools.product(*choices):
            yield Way(cluster, flavors)


def matches(snapshot: Snapshot, shape: Shape, way: Way) -> bool:
    """Whether each role named its flavor, or one of its nodes has the GPUs of a replica."""
    most = {
        flavor: max(n.capacity.gpu for n in snapshot.nodes if (n.cluster, n.flavor) == (way.cluster, flavor))
        for flavor in set(way.flavors)
    }
    return all(
        role.flavors or role.need.gpu <= most[flavor]
        for role, flavor in zip(shape.roles, way.flavors, strict=True)
    )


def permitted(
    snapshot: Snapshot, shape: Shape, cluster: str, *, exclusions: bool = True, unusable: bool = True
) -> list[NodeModel]:
    """Nodes of a cluster that the workload may use; either obstacle may be thought away."""
    found = []
    for node in snapshot.nodes:
        if node.cluster != cluster:
            continue
        if unusable and node.unusable is not None:
            continue
        if exclusions:
            named = {node.name, f"{node.cluster}/{node.name}"}
            if named & shape.exclude_nodes or node.address in shape.exclude_addresses:
                continue
            if any(node.labels.get(key) != value for key, value in shape.labels):
                continue
        found.append(node)
    return found


def standing(nodes: list[NodeModel], topology: str) -> list[list[NodeModel]]:
    """Sets of nodes, each of which a gang with this topology may not leave."""
    if topology == "node":
        return [[node] for node in nodes]
    if topology == "rack":
        racks: dict[tuple[str, ...], list[NodeModel]] = {}
        for node in nodes:
            racks.setdefault(node.levels or (node.name,), []).append(node)
        return list(racks.values())
    return [nodes]


def gangs(shape: Shape, way: Way, nodes: list[NodeModel], free: Free) -> Iterator[tuple[Placement, ...]]:
    """Every way to place the whole gang at its least, up to which of equal replicas goes where."""
    for together in standing(nodes, shape.topology):
        for counts in _place(shape, way, 0, together, free):
            yield _placements(shape, way, counts)


def _place(
    shape: Shape, way: Way, number: int, nodes: list[NodeModel], free: Free
) -> Iterator[list[dict[str, int]]]:
    """For each role from ``number`` on: how many replicas on which node."""
    if number == len(shape.roles):
        yield []
        return
    role = shape.roles[number]
    hosts = [node for node in nodes if node.flavor == way.flavors[number]]
    for counts in _spread(role.replicas, role.need, hosts, free):
        rest = {key: dict(room) for key, room in free.items()}
        for node, count in counts.items():
            for name in RESOURCES:
                rest[way.cluster, node][name] -= getattr(role.need, name) * count
        for others in _place(shape, way, number + 1, nodes, rest):
            yield [counts, *others]


def _spread(replicas: int, need: Amount, hosts: list[NodeModel], free: Free) -> Iterator[dict[str, int]]:
    if sum(min(replicas, _room_for(need, free[node.cluster, node.name])) for node in hosts) < replicas:
        return
    if replicas == 0:
        yield {}
        return
    first, *others = hosts
    for count in range(min(replicas, _room_for(need, free[first.cluster, first.name])), -1, -1):
        for rest in _spread(replicas - count, need, others, free):
            yield {first.name: count, **rest} if count else rest


def _room_for(need: Amount, room: dict[str, int]) -> int:
    return min(
        (room[name] // getattr(need, name) for name in RESOURCES if getattr(need, name)), default=ENOUGH
    )


def _placements(shape: Shape, way: Way, counts: list[dict[str, int]]) -> tuple[Placement, ...]:
    made: list[Placement] = []
    for role, flavor, taken in zip(shape.roles, way.flavors, counts, strict=True):
        index = 0
        for node, count in taken.items():
            for _ in range(count):
                made.append(Placement(role.name, index, way.cluster, node, flavor, role.need))
                index += 1
    return tuple(made)


def enough_in_all(shape: Shape, way: Way, nodes: list[NodeModel], free: Free) -> bool:
    """Whether what is free would do, could it be moved together: the sums of each flavor."""
    for flavor in set(way.flavors):
        for name in RESOURCES:
            asked = sum(
                getattr(role.need, name) * role.replicas
                for role, uses in zip(shape.roles, way.flavors, strict=True)
                if uses == flavor
            )
            left = sum(free[node.cluster, node.name][name] for node in nodes if node.flavor == flavor)
            if asked > left:
                return False
    return True

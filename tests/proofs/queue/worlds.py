"""Random worlds, small enough to try everything in: nodes, a tree of quotas, what runs and who waits."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from footplate_hub.queue.model import (
    Amount,
    ClusterModel,
    GroupModel,
    Limit,
    NodeModel,
    PersonLimit,
    Placement,
    Policy,
    Quota,
    RoleShape,
    Running,
    Shape,
    Snapshot,
    Workload,
)
from footplate_spec.reasons import Reason, ReasonCode

__all__ = ["GROUPS", "NOW", "crowded_world", "random_world", "shuffled", "unlucky", "varied_world"]

NOW = 1_000_000.0
GROUPS = ("a", "a/x", "a/y", "b", "c")
CLUSTERS = ("east", "west")
FLAVORS = ("new", "old")
WAITS = ("Suspended", "WaitingForJobs", "LimitReached", "DataNotReady")
T = TypeVar("T")


def random_world(chance: random.Random) -> Snapshot:
    """A varied world, or a crowded one."""
    return chance.choice([varied_world, crowded_world])(chance)


def crowded_world(chance: random.Random) -> Snapshot:
    """Few nodes of one flavor on one cluster, full of what is lower or borrowed: who is stopped for whom?"""
    nodes = tuple(
        NodeModel("east", f"n{number}", "new", Amount(64000, 64, chance.choice([2, 4, 8])), levels=("hall",))
        for number in range(chance.randint(1, 4))
    )
    workloads = [
        Workload(
            id=f"w{number}",
            group=chance.choice(GROUPS),
            priority=chance.choice([0, 0, 100, 200]),
            place=NOW - chance.randint(1, 1000),
            shape=Shape(
                (RoleShape("worker", chance.choice([1, 1, 2, 3]), Amount(gpu=chance.choice([1, 2, 4]))),)
            ),
            time_limit=chance.choice([0, 50, 150, 500]),
            owner=chance.choice(["ann", "bob"]),
        )
        for number in range(chance.randint(1, 6))
    ]
    groups = {
        name: GroupModel(
            name,
            {
                ("east", "new"): Quota(
                    nominal=Limit(gpu=chance.choice([2, 4, 6]) * (3 if name == "a" else 1)),
                    borrowing=Limit(gpu=rarely(chance, [0, 2], None)),
                    lending=Limit(gpu=rarely(chance, [0, 1], None)),
                )
            },
        )
        for name in GROUPS
        if chance.random() < 0.7
    }
    return Snapshot(nodes, Snapshot.lines_of(workloads), _running(chance, nodes, full=True), groups)


def varied_world(chance: random.Random) -> Snapshot:
    """A world with a little of everything; what is not asked for is nothing most of the time."""
    nodes = tuple(_node(chance, number) for number in range(chance.randint(2, 6)))
    running = _running(chance, nodes)
    workloads = [_workload(chance, number) for number in range(chance.randint(1, 7))]
    return Snapshot(
        nodes=nodes,
        lines=Snapshot.lines_of(workloads),
        running=running,
        groups=_groups(chance),
        clusters=_clusters(chance),
    )


def shuffled(world: Snapshot, chance: random.Random) -> Snapshot:
    """The same world, told in another order."""
    nodes, lines, running = list(world.nodes), list(world.lines), list(world.running)
    for told in (nodes, lines, running):
        chance.shuffle(told)
    return replace(world, nodes=tuple(nodes), lines=tuple(lines), running=tuple(running))


def unlucky(world: Snapshot, chance: random.Random) -> tuple[Snapshot, float]:
    """The same world after a mishap, and the time then.

    Nodes shrink below their load or are gone with what runs on them, groups are deleted with jobs queued,
    quotas are cut, the clock jumps.
    """
    nodes = [
        replace(node, capacity=Amount(node.capacity.cpu, node.capacity.memory, node.capacity.gpu // 2))
        if chance.random() < 0.3
        else node
        for node in world.nodes
        if chance.random() < 0.85
    ]
    groups = {
        name: replace(
            group, quotas={place: Quota(_cut(quota.nominal)) for place, quota in group.quotas.items()}
        )
        if chance.random() < 0.3
        else group
        for name, group in world.groups.items()
        if chance.random() < 0.8
    }
    now = NOW + chance.choice([0, 0, 150, 10_000_000, -150, -10_000_000])
    return replace(world, nodes=tuple(nodes), groups=groups), now


def _cut(limit: Limit) -> Limit:
    return replace(limit, gpu=limit.gpu // 4 if limit.gpu is not None else None)


def rarely(chance: random.Random, some: Sequence[T], nothing: T, *, often: float = 0.15) -> T:
    """One of ``some`` now and then, else ``nothing``."""
    return chance.choice(some) if chance.random() < often else nothing


def _node(chance: random.Random, number: int) -> NodeModel:
    gpu = chance.choice([0, 1, 2, 4, 4, 8, 8])
    return NodeModel(
        cluster=rarely(chance, ["west"], "east"),
        name=f"n{number}",
        flavor=chance.choice(["new", "new", "old"]),
        capacity=Amount(chance.choice([4000, 8000, 8000]), chance.choice([16, 64]), gpu),
        address=f"10.0.0.{number}",
        labels={"disk": chance.choice(["ssd", "hdd"])},
        levels=("hall", chance.choice(["r1", "r2"])),
        unusable=rarely(chance, ["blocked"], None, often=0.1),
    )


def _running(chance: random.Random, nodes: Sequence[NodeModel], *, full: bool = False) -> tuple[Running, ...]:
    free = {node.name: [node.capacity.cpu, node.capacity.memory, node.capacity.gpu] for node in nodes}
    attempts = []
    for number in range(12 if full else chance.randint(0, 7)):
        node = chance.choice(nodes)
        need = Amount(1000, 1, chance.choice([1, 2, 4] if full else [0, 1, 1, 2, 4]))
        room = free[node.name]
        if need.cpu > room[0] or need.memory > room[1] or need.gpu > room[2]:
            continue
        free[node.name] = [room[0] - need.cpu, room[1] - need.memory, room[2] - need.gpu]
        limit = chance.choice([0, 100, 200, 1000])
        started = NOW - chance.choice([0, 10, 50, 90])
        begun = chance.random() < 0.8
        attempts.append(
            Running(
                id=f"r{number}",
                group=chance.choice(GROUPS),
                placements=(Placement("worker", 0, node.cluster, node.name, node.flavor, need),),
                priority=chance.choice([0, 0, 100]),
                ends=started + limit if limit and begun else None,
                time_limit=limit,
                started=started,
                saved=rarely(chance, [NOW - 5], None),
                owner=chance.choice(["ann", "bob"]),
                stopping=chance.random() < 0.1,
                preemptible=chance.random() < 0.9,
            )
        )
    return tuple(attempts)


def _workload(chance: random.Random, number: int) -> Workload:
    roles = tuple(
        _role(chance, name)
        for name in chance.choice([("worker",), ("worker",), ("worker",), ("chief", "worker")])
    )
    shape = Shape(
        roles=roles,
        clusters=rarely(chance, [("west", "east"), ("east",), ("east",), ("gone", "east")], ()),
        exclude_nodes=rarely(chance, [frozenset({"n0"}), frozenset({"n0", "east/n1"})], frozenset()),
        exclude_addresses=rarely(chance, [frozenset({"10.0.0.1"})], frozenset(), often=0.05),
        labels=rarely(chance, [(("disk", "ssd"),)], ()),
        topology=rarely(chance, ["node", "rack"], "any", often=0.3),
        region=rarely(chance, ["north", "north", "south"], "", often=0.05),
    )
    return Workload(
        id=f"w{number}",
        group=chance.choice(GROUPS),
        priority=chance.choice([0, 0, 0, 100]),
        place=NOW - chance.randint(1, 1000),
        shape=shape,
        time_limit=chance.choice([0, 50, 150, 500]),
        owner=chance.choice(["ann", "bob"]),
        waits=_hold(rarely(chance, WAITS, "", often=0.08)),
    )


def _role(chance: random.Random, name: str) -> RoleShape:
    replicas = chance.choice([1, 1, 1, 2, 3])
    return RoleShape(
        name=name,
        replicas=replicas,
        need=Amount(
            chance.choice([500, 1000, 2000]),
            chance.choice([1, 4]),
            chance.choice([0, 1, 1, 1, 1, 2, 2, 2, 4, 8]) if name == "worker" else chance.choice([0, 1]),
        ),
        flavors=rarely(
            chance, [("new",), ("new", "old"), ("old", "new"), ("old", "new"), ("old", "gone")], (), often=0.3
        ),
        most=rarely(chance, [replicas + 1, replicas + 3], None),
    )


def _groups(chance: random.Random) -> dict[str, GroupModel]:
    groups = {name: _group(chance, name) for name in GROUPS if chance.random() < 0.6}
    if "a" in groups:  # nobody keeps more than there is above
        quotas = {}
        for place, quota in groups["a"].quotas.items():
            below = [
                groups[n].quotas[place] for n in ("a/x", "a/y") if n in groups and place in groups[n].quotas
            ]
            quotas[place] = replace(quota, nominal=_at_least(quota.nominal, [q.nominal for q in below]))
        groups["a"] = replace(groups["a"], quotas=quotas)
    return groups


def _at_least(limit: Limit, parts: Sequence[Limit]) -> Limit:
    """A limit raised to the sum of its parts, where it is one."""
    sums = {name: sum(getattr(part, name) or 0 for part in parts) for name in ("cpu", "gpu")}
    return Limit(
        **{
            name: max(value, sums[name]) if (value := getattr(limit, name)) is not None else None
            for name in sums
        }
    )


def _group(chance: random.Random, name: str) -> GroupModel:
    quotas = {
        (cluster, flavor): Quota(
            nominal=Limit(cpu=rarely(chance, [2000, 8000], None), gpu=chance.choice([None, 0, 1, 2, 4, 8])),
            borrowing=Limit(gpu=rarely(chance, [0, 1, 4], None, often=0.3)),
            lending=Limit(gpu=rarely(chance, [0, 1], None, often=0.3)),
        )
        for cluster in CLUSTERS
        for flavor in FLAVORS
        if chance.random() < 0.4
    }
    return GroupModel(
        name=name,
        quotas=quotas,
        person=rarely(chance, [PersonLimit(running=1), PersonLimit(running=2), PersonLimit(gpus=4)], None),
        policy=_policy(chance),
        used=chance.choice([0.0, 100.0, 5000.0]),
        held=_hold(rarely(chance, ["Held"], "", often=0.03)),
    )


def _clusters(chance: random.Random) -> dict[str, ClusterModel]:
    return {
        name: ClusterModel(
            name=name,
            region=chance.choice(["", "north"]),
            policy=_policy(chance),
            held=_hold(rarely(chance, ["Held", "DiskLow"], "", often=0.05)),
        )
        for name in CLUSTERS
        if chance.random() < 0.5
    }


def _policy(chance: random.Random) -> Policy | None:
    return rarely(chance, [Policy("fifo", backfill=False), Policy("fair_share"), Policy()], None, often=0.1)


def _hold(code: str) -> Reason | None:
    known = {known.value for known in ReasonCode}
    return Reason(code=ReasonCode(code), message="It is so.") if code in known else None

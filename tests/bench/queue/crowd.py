"""A large world that is nearly full: who waits, on what, under which quotas."""

from __future__ import annotations

import heapq
import random
from dataclasses import replace

from footplate_hub.queue.model import (
    Amount,
    GroupModel,
    Limit,
    Line,
    NodeModel,
    PersonLimit,
    Placement,
    Plan,
    Policy,
    Quota,
    RoleShape,
    Running,
    Shape,
    Snapshot,
    Workload,
)

__all__ = ["NOW", "carried_out", "crowd"]

GI = 2**30
NOW = 1_000_000.0
RACK = 40
KINDS = {  # flavor -> share of the nodes, GPUs, cores, GiB
    "h100": (0.3, 8, 96, 1024),
    "a100": (0.3, 8, 64, 512),
    "l4": (0.2, 4, 32, 128),
    "cpu": (0.2, 0, 64, 256),
}
FLAVORS = [(), ("h100",), ("a100",), ("l4",), ("h100", "a100"), ("a100", "h100"), ("a100", "l4")]


def crowd(workloads: int = 60_000, nodes: int = 5_000, groups: int = 500, shapes: int = 2_400) -> Snapshot:
    """A world of that size; the same whenever it is asked for."""
    rng = random.Random(20)
    machines = _nodes(nodes)
    names = [f"g{n % 20}/h{n}" for n in range(groups - 20)] + [f"g{n}" for n in range(20)]
    tree = _groups(rng, names, machines)
    return Snapshot(
        nodes=machines,
        lines=Snapshot.lines_of(_waiting(rng, workloads, names, _shapes(rng, shapes, nodes))),
        running=tuple(_running(rng, machines, tree)),
        groups=tree,
    )


def _nodes(count: int) -> tuple[NodeModel, ...]:
    found = []
    for flavor, (share, gpus, cores, memory) in KINDS.items():
        for n in range(int(count * share)):
            found.append(
                NodeModel(
                    cluster="east" if n % 3 else "west",
                    name=f"{flavor}-{n}",
                    flavor=flavor,
                    capacity=Amount(cores * 1000, memory * GI, gpus),
                    address=f"10.{len(found) // 250}.{len(found) % 250}.1",
                    labels={"disk": "ssd" if n % 2 else "hdd"},
                    levels=(f"hall-{n // RACK % 5}", f"rack-{flavor}-{n // RACK}"),
                )
            )
    return tuple(found)


def _shapes(rng: random.Random, count: int, nodes: int) -> list[Shape]:
    found: dict[Shape, None] = {}
    while len(found) < count:
        gpus = rng.choice([0, 1, 1, 1, 2, 2, 4, 8, 8])
        need = Amount(rng.choice([1, 2, 4, 8, 16]) * 1000, rng.choice([2, 8, 16, 64]) * GI, gpus)
        replicas = rng.choice([1, 1, 1, 1, 2, 4, 8, 16, 64])
        roles = [
            RoleShape("worker", replicas, need, rng.choice(FLAVORS) if gpus else rng.choice([(), ("cpu",)]))
        ]
        if rng.random() < 0.1:
            roles.append(RoleShape("ps", rng.choice([1, 2]), Amount(4000, 16 * GI), ("cpu",)))
        elif rng.random() < 0.1:
            roles[0] = replace(roles[0], most=replicas * 2)
        kind = rng.choice(["h100", "a100", "l4"])
        excluded = frozenset(f"{kind}-{rng.randrange(nodes // 5)}" for _ in range(rng.choice([0, 0, 1, 3])))
        found[
            Shape(
                tuple(roles),
                clusters=rng.choice([(), (), ("east",), ("west", "east")]),
                exclude_nodes=excluded,
                labels=rng.choice([(), (), (), (("disk", "ssd"),)]),
                topology=rng.choice(["any", "any", "any", "rack", "node"]) if len(roles) == 1 else "any",
            )
        ] = None
    return list(found)


def _waiting(rng: random.Random, count: int, groups: list[str], shapes: list[Shape]) -> list[Workload]:
    theirs = {group: rng.sample(shapes, 40) for group in groups}
    limits = [int(hours * 3600) for hours in (0.25, 0.5, 1, 2, 4, 8, 12, 24, 48)]
    found = []
    for n in range(count):
        group = rng.choice(groups)
        found.append(
            Workload(
                f"job-{n}",
                group,
                rng.choice([0, 0, 0, 100]),
                NOW - 100_000 + n,
                rng.choice(theirs[group]),
                rng.choice(limits),
                owner=f"person-{rng.randrange(2000)}",
            )
        )
    return found


class _Shares:
    """Hands what runs to the groups that have most of their quota left for it."""

    def __init__(self, rng: random.Random, groups: dict[str, GroupModel]) -> None:
        self._left = {
            place: [
                (-(group.quotas[place].nominal.gpu or 0), rng.random(), name)
                for name, group in groups.items()
                if "/" in name and place in group.quotas
            ]
            for place in dict.fromkeys(place for group in groups.values() for place in group.quotas)
        }
        for left in self._left.values():
            heapq.heapify(left)
        self._all = list(groups)
        self._rng = rng

    def owner(self, placements: list[Placement]) -> str:
        gpus = sum(placement.need.gpu for placement in placements)
        if not gpus:
            return self._rng.choice(self._all)
        left = self._left[placements[0].cluster, placements[0].flavor]
        less, tie, group = left[0]
        heapq.heapreplace(left, (less + gpus, tie, group))
        return group


def _running(
    rng: random.Random, nodes: tuple[NodeModel, ...], groups: dict[str, GroupModel]
) -> list[Running]:
    """Fills nearly all GPUs: whole racks, whole nodes, and single GPUs."""
    found: list[Running] = []
    shares = _Shares(rng, groups)

    def start(placements: list[Placement]) -> None:
        found.append(
            Running(
                f"run-{len(found)}",
                shares.owner(placements),
                tuple(placements),
                priority=100,
                ends=NOW + rng.uniform(60, 86_400),
                started=NOW - rng.uniform(60, 86_400),
                owner=f"person-{rng.randrange(2000)}",
                preemptible=False,
            )
        )

    gang: list[Placement] = []
    for node in nodes:
        cpu = node.capacity.cpu // max(node.capacity.gpu, 8)
        memory = node.capacity.memory // max(node.capacity.gpu, 8)
        pieces = node.capacity.gpu or 8
        size = rng.choice([1, 2, 4, pieces, pieces])
        for n in range(pieces // min(size, pieces)):
            if rng.random() < 0.03:
                continue
            gpus = size if node.capacity.gpu else 0
            need = Amount(cpu * size - 500 * size, memory * size - GI // 2, gpus)
            placement = Placement("worker", n, node.cluster, node.name, node.flavor, need)
            if size == pieces and node.capacity.gpu:
                if gang and (gang[0].flavor, gang[0].cluster, gang[0].need) != (
                    node.flavor,
                    node.cluster,
                    need,
                ):
                    start(gang)
                    gang = []
                gang.append(placement)
                if len(gang) == rng.choice([1, 1, 2]):
                    start(gang)
                    gang = []
            else:
                start([placement])
    if gang:
        start(gang)
    return found


def _groups(rng: random.Random, names: list[str], nodes: tuple[NodeModel, ...]) -> dict[str, GroupModel]:
    """All that there is, shared out twenty ways, and again below each, where every group has two flavors."""
    total: dict[tuple[str, str], int] = {}
    for node in nodes:
        if node.capacity.gpu:
            total[node.cluster, node.flavor] = total.get((node.cluster, node.flavor), 0) + node.capacity.gpu
    places = list(total)
    leaves = [name for name in names if "/" in name]
    theirs = {name: [places[(n // 20 + k) % len(places)] for k in (0, 1)] for n, name in enumerate(leaves)}
    parts = {place: sum(place in two for two in theirs.values()) for place in places}
    amounts = {name: {place: -(-total[place] // parts[place]) for place in theirs[name]} for name in leaves}
    for top in (name for name in names if "/" not in name):
        below = [amounts[name] for name in leaves if name.startswith(f"{top}/")]
        amounts[top] = {place: sum(two.get(place, 0) for two in below) + 1 for place in places}
    found = {}
    for name in names:
        found[name] = GroupModel(
            name,
            quotas={
                place: Quota(Limit(gpu=gpus), Limit(gpu=rng.choice([None, 16])))
                for place, gpus in amounts[name].items()
            },
            person=PersonLimit(running=40) if rng.random() < 0.2 else None,
            policy=Policy(order="fair_share") if name == "g7" else None,
            used=rng.uniform(0, 1e6),
        )
    return found


def carried_out(snapshot: Snapshot, plan: Plan) -> Snapshot:
    """What is there once all that a plan admits runs; lines that lose nobody are the same objects."""
    gone = {admission.workload.id for admission in plan.admit}
    lines = []
    for line in snapshot.lines:
        left = tuple(w for w in line.workloads if w.id not in gone)
        if len(left) == len(line.workloads):
            lines.append(line)
        elif left:
            lines.append(Line(line.group, line.shape, left))
    started = tuple(
        Running(
            a.workload.id,
            a.workload.group,
            a.placements,
            priority=a.workload.priority,
            ends=NOW + a.workload.time_limit,
            time_limit=a.workload.time_limit,
            started=NOW,
            owner=a.workload.owner,
            preemptible=False,
        )
        for a in plan.admit
    )
    return replace(snapshot, lines=tuple(lines), running=(*snapshot.running, *started))

"""Random worlds for the queue's tests."""

from __future__ import annotations

import random

from footplate_hub.queue.model import Amount, GroupModel, Snapshot
from support.worlds import GI, full_disk, node, quota, role, running, workload, world

__all__ = ["GROUPS", "random_world"]

GROUPS = ["a", "a/x", "b"]


def random_world(seed: int) -> Snapshot:
    rng = random.Random(seed)
    nodes = [
        node(
            f"n{i}",
            gpu=rng.choice([0, 1, 2, 4, 8]),
            cpu=rng.choice([2, 8, 32]),
            flavor=rng.choice(["cpu", "old", "new"]),
            cluster=rng.choice(["local", "local", "far"]),
            address=f"10.0.0.{i}",
            labels={"disk": rng.choice(["ssd", "hdd"])},
            unusable=rng.choice([None, None, None, "blocked"]),
        )
        for i in range(rng.randint(0, 6))
    ]
    busy = [
        running(
            f"r{n.name}",
            n,
            Amount(1000, GI, min(n.capacity.gpu, rng.randint(0, 2))),
            group=rng.choice(GROUPS),
            ends=rng.choice([None, 20.0, 90.0]),
        )
        for n in nodes
        if rng.random() < 0.4
    ]
    waiting = [
        workload(
            f"w{i}",
            *(
                role(
                    rng.choice([1, 1, 2, 3]),
                    gpu=rng.choice([0, 0, 1, 2, 4]),
                    cpu=rng.choice([0.5, 1, 4]),
                    name=f"role{r}",
                    flavors=rng.choice([(), (), ("new",), ("new", "old"), ("gone",)]),
                )
                for r in range(rng.choice([1, 1, 2]))
            ),
            place=float(i),
            priority=rng.choice([0, 0, 100]),
            time_limit=rng.choice([0, 5, 60]),
            group=rng.choice(GROUPS),
            clusters=rng.choice([(), (), ("far",), ("local",)]),
            exclude_nodes=frozenset(rng.choice([(), (), ("n0",)])),
            labels=rng.choice([(), (), (("disk", "ssd"),)]),
        )
        for i in range(rng.randint(0, 12))
    ]
    groups: dict[str, GroupModel] = {}
    for group in rng.sample(GROUPS, rng.randint(0, 3)):
        flavor = rng.choice(["cpu", "old", "new"])
        groups |= quota(group, flavor, hard=True, gpu=rng.choice([None, 1, 4]), cpu=rng.choice([None, 8000]))
    clusters = full_disk("far") if rng.random() < 0.1 else {}
    return world(nodes, waiting, running=tuple(busy), groups=groups, clusters=clusters)

"""Gangs of several roles whose replicas must share nodes in one certain way."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from footplate_hub.queue.competing import fit_competing
from footplate_hub.queue.fit import room_for
from footplate_hub.queue.model import Amount, NodeModel, RoleShape
from footplate_hub.queue.schedule import schedule
from support.worlds import workload, world

CHIEF, WORKER = Amount(1000, 1, 1), Amount(2000, 1, 1)


def machines(*kinds: tuple[int, int]) -> list[NodeModel]:
    return [
        NodeModel("local", f"n{number}", "gpu", Amount(cpu, 64, gpus), levels=("hall", f"rack-{number // 3}"))
        for number, (cpu, gpus) in enumerate(kinds)
    ]


@pytest.mark.parametrize(
    ("nodes", "chiefs", "workers"),
    [
        (machines((4000, 8), (4000, 4), (4000, 0)), 2, 3),
        (machines((4000, 4), (4000, 2)), 2, 3),
    ],
    ids=["nodes of three kinds", "nodes of two kinds"],
)
def test_roles_that_must_share_nodes_in_one_way_find_it(nodes, chiefs, workers):
    gang = workload("g", RoleShape("chief", chiefs, CHIEF), RoleShape("worker", workers, WORKER))
    [admission] = schedule(world(nodes, [gang]), 0).admit
    on = {n.name: sorted(p.role for p in admission.placements if p.node == n.name) for n in nodes}
    assert sorted(roles for roles in on.values() if roles) == [
        ["chief", "chief", "worker"],
        ["worker", "worker"],
    ]


def test_a_rack_is_searched_too():
    nodes = machines((4000, 4), (4000, 2), (1000, 0), (9000, 1), (9000, 1))
    gang = workload("g", RoleShape("chief", 2, CHIEF), RoleShape("worker", 3, WORKER), topology="rack")
    [admission] = schedule(world(nodes, [gang]), 0).admit
    assert {p.node for p in admission.placements} == {"n0", "n1"}


def test_it_is_found_exactly_where_there_is_a_way():
    for seed in range(300):
        chance = random.Random(seed)
        room = np.array(
            [[chance.randint(0, 4), 9, chance.randint(0, 4)] for _ in range(chance.randint(1, 3))]
        )
        roles = chance.choice([2, 3])
        needs = [(chance.randint(0, 2), 0, chance.randint(0, 2)) for _ in range(roles)]
        replicas = [chance.randint(1, 3) for _ in range(roles)]
        counts = [room_for(room, need) for need in needs]
        found = fit_competing(room, needs, counts, replicas)
        if found is not None:
            used = np.zeros_like(room)
            for need, taken in zip(needs, found, strict=True):
                for row, count in taken:
                    used[row] += np.array(need) * count
            assert (used <= room).all()
            assert [sum(count for _, count in taken) for taken in found] == replicas
        assert (found is not None) == _tried(room, needs, replicas)


def _tried(room, needs, replicas) -> bool:
    """By trying every node for every replica."""
    wanted = [need for need, count in zip(needs, replicas, strict=True) for _ in range(count)]
    return any(
        all(
            sum(need[column] for need, at in zip(wanted, where, strict=True) if at == row)
            <= room[row][column]
            for row in range(len(room))
            for column in range(3)
        )
        for where in itertools.product(range(len(room)), repeat=len(wanted))
    )


def test_a_search_that_would_be_long_gives_up():
    many = 2000
    room = np.array([[5, 0, 5]] * many)
    needs, replicas = [(1, 0, 1), (2, 0, 1), (1, 0, 2)], [1500, 1500, 2600]
    assert fit_competing(room, needs, [room_for(room, need) for need in needs], replicas) is None

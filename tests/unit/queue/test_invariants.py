"""The queue's promises on random worlds: nothing over-committed, no gang in part, nobody without a reason."""

from __future__ import annotations

from collections import Counter

import pytest

from footplate_hub.queue.quota import lineage
from footplate_hub.queue.schedule import schedule
from footplate_spec.reasons import ReasonCode as Code
from support.random_worlds import random_world

SEEDS = range(150)


@pytest.mark.parametrize("seed", SEEDS)
def test_promises_hold(seed):
    snapshot = random_world(seed)
    plan = schedule(snapshot, 0.0)
    everyone = {w.id: w for line in snapshot.lines for w in line.workloads}
    placed = [p for a in plan.admit for p in a.placements]

    # Everyone is either admitted or has one reason.
    assert Counter([a.workload.id for a in plan.admit] + list(plan.reasons)) == Counter(list(everyone))
    assert all(r.code != Code.PENDING_EVALUATION and r.message for r in plan.reasons.values())

    # No gang in part, each replica on a node that it may use.
    models = {(n.cluster, n.name): n for n in snapshot.nodes}
    for admission in plan.admit:
        shape = admission.workload.shape
        counts = Counter((p.role, p.index) for p in admission.placements)
        assert counts == Counter((r.name, i) for r in shape.roles for i in range(r.replicas))
        for placement in admission.placements:
            on = models[placement.cluster, placement.node]
            [asked] = [r for r in shape.roles if r.name == placement.role]
            assert on.unusable is None
            assert on.name not in shape.exclude_nodes
            assert all(on.labels.get(k) == v for k, v in shape.labels)
            assert placement.flavor == on.flavor
            assert not asked.flavors or on.flavor in asked.flavors
            assert not shape.clusters or on.cluster in shape.clusters
            assert on.cluster not in snapshot.clusters

    # No node and no quota is over-committed.
    used = [p for r in snapshot.running for p in r.placements] + placed
    for key, model in models.items():
        mine = [p.need for p in used if (p.cluster, p.node) == key]
        for resource in ("cpu", "memory", "gpu"):
            total = sum(getattr(need, resource) for need in mine)
            assert total <= max(getattr(model.capacity, resource), 0)
    holders = [(r.group, r.placements) for r in snapshot.running]
    before = list(holders)
    holders += [(a.workload.group, a.placements) for a in plan.admit]
    for group, model in snapshot.groups.items():
        for place, limits in model.quotas.items():
            for resource in ("cpu", "memory", "gpu"):

                def use(of, group=group, place=place, resource=resource):
                    return sum(
                        getattr(p.need, resource)
                        for who, placements in of
                        for p in placements
                        if group in lineage(who) and (p.cluster, p.flavor) == place
                    )

                most = getattr(limits.nominal, resource)
                assert most is None or use(holders) <= max(most, use(before))


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_worlds_give_equal_plans(seed):
    first, second = schedule(random_world(seed), 0.0), schedule(random_world(seed), 0.0)
    assert first.admit == second.admit
    assert {k: v.message for k, v in first.reasons.items()} == {
        k: v.message for k, v in second.reasons.items()
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_starts_who_keeps_an_earlier_one_with_the_same_needs_waiting(seed):
    snapshot = random_world(seed)
    plan = schedule(snapshot, 0.0)
    waiting = [w for line in snapshot.lines for w in line.workloads if w.id in plan.reasons]
    for admission in plan.admit:
        for other in waiting:
            same = (other.shape, other.group) == (admission.workload.shape, admission.workload.group)
            assert not (same and other.rank < admission.workload.rank)

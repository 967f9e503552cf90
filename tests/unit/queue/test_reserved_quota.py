"""What a reservation keeps of quotas: what is there when it starts, not what is there now."""

from __future__ import annotations

from dataclasses import replace

import pytest

from footplate_hub.queue.model import Amount, GroupModel, Limit, PersonLimit, Quota
from footplate_hub.queue.schedule import schedule
from footplate_spec.reasons import ReasonCode as Code
from support.worlds import GI, node, role, running, workload, world

HALVES = {name: GroupModel(name, {("local", "gpu"): Quota(Limit(gpu=6))}) for name in ("a", "b")}
NODES = [node("n0", gpu=1), node("n1", gpu=2), node("n2", gpu=8)]


def admitted(plan) -> list[str]:
    return [admission.workload.id for admission in plan.admit]


def test_what_ends_before_a_reservation_starts_is_not_counted_beside_it():
    busy = (running("r", NODES[2], Amount(1000, GI, 4), group="a", ends=100.0),)
    waiting = [
        workload("big", role(2, gpu=4), group="a", place=1),
        workload("small", role(2, gpu=1), group="b", place=2),
    ]
    plan = schedule(world(NODES, waiting, running=busy, groups=HALVES), 0)
    assert [(r.workload, r.start) for r in plan.reserve] == [("big", 100.0)]
    assert (admitted(plan), plan.preempt) == (["small"], ())


@pytest.mark.parametrize(("limit", "starts"), [(99, True), (101, False), (0, False)])
def test_what_starts_now_and_still_runs_then_is_counted_beside_it(limit, starts):
    busy = (running("r", NODES[2], Amount(1000, GI, 4), ends=100.0),)
    groups = {
        name: replace(group, quotas={("local", "gpu"): Quota(Limit(gpu=4))}) for name, group in HALVES.items()
    }
    waiting = [
        workload("big", role(2, gpu=4), group="a", place=1),
        workload("small", role(gpu=1), group="b", place=2, time_limit=limit),
    ]
    plan = schedule(world(NODES, waiting, running=busy, groups=groups), 0)
    assert admitted(plan) == (["small"] if starts else [])
    assert starts or plan.reasons["small"].code == Code.RESERVED_FOR_AHEAD


def test_each_of_several_that_start_before_a_reservation_is_counted_until_it_ends():
    busy = (running("r", NODES[2], Amount(1000, GI, 4), ends=100.0),)
    waiting = [
        workload("first", role(gpu=1), group="b", place=0, time_limit=50),
        workload("big", role(2, gpu=4), group="a", place=1),
        workload("second", role(gpu=2), group="b", place=2),
        workload("third", role(gpu=2), group="b", place=3),
    ]
    groups = {
        name: replace(group, quotas={("local", "gpu"): Quota(Limit(gpu=5))}) for name, group in HALVES.items()
    }
    nodes = [*NODES, node("n3", gpu=2)]
    plan = schedule(world(nodes, waiting, running=busy, groups=groups), 0)
    assert [(r.workload, r.start) for r in plan.reserve] == [("big", 100.0)]
    assert admitted(plan) == ["first", "second"]
    assert plan.reasons["third"].code == Code.RESERVED_FOR_AHEAD


@pytest.mark.parametrize(("ends", "starts"), [(100.0, True), (200.0, False)])
def test_a_person_is_kept_what_is_reserved_beside_what_still_runs_then(ends, starts):
    groups = {"a": GroupModel("a", person=PersonLimit(running=2))}
    busy = (
        replace(running("mine", NODES[0], Amount(1000, GI, 1), group="a", ends=ends), owner="ann"),
        running("r", NODES[2], Amount(1000, GI, 4), ends=100.0),
    )
    waiting = [
        workload("big", role(2, gpu=4), group="a", owner="ann", place=1),
        workload("small", role(gpu=1), group="a", owner="ann", place=2),
    ]
    plan = schedule(world(NODES, waiting, running=busy, groups=groups), 0)
    assert [(r.workload, r.start) for r in plan.reserve] == [("big", 100.0)]
    assert admitted(plan) == (["small"] if starts else [])

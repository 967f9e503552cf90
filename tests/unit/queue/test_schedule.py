"""What a pass decides, as tables; `test_invariants` holds it to its promises on random worlds."""

from __future__ import annotations

import time

import pytest

from footplate_hub.queue.model import Amount
from footplate_hub.queue.schedule import schedule
from footplate_spec.reasons import ReasonCode as Code
from support.worlds import GI, full_disk, node, quota, role, running, workload, world


def admitted(plan) -> list[str]:
    return [admission.workload.id for admission in plan.admit]


def nodes_of(plan, name: str) -> list[str]:
    [admission] = [a for a in plan.admit if a.workload.id == name]
    return [placement.node for placement in admission.placements]


def test_first_come_is_first_served_and_priority_goes_before():
    waiting = [
        workload("late", place=3.0),
        workload("early", place=1.0),
        workload("urgent", place=9.0, priority=100),
    ]
    plan = schedule(world([node("a", cpu=2)], waiting), 0)
    assert admitted(plan) == ["urgent", "early"]
    assert plan.reasons["late"].code == Code.WAITING_FOR_CAPACITY


def test_a_gang_starts_whole_or_not_at_all():
    nodes = [node("a", gpu=2), node("b", gpu=1)]
    assert admitted(schedule(world(nodes, [workload("g", role(4, gpu=1))]), 0)) == []
    assert nodes_of(schedule(world(nodes, [workload("g", role(3, gpu=1))]), 0), "g") == ["a", "a", "b"]


def test_roles_of_one_gang_may_need_different_machines():
    nodes = [node("c", cpu=4), node("g", gpu=4)]
    gang = workload("g", role(2, gpu=2, name="worker"), role(1, cpu=3, name="ps", flavors=["cpu"]))
    plan = schedule(world(nodes, [gang]), 0)
    assert nodes_of(plan, "g") == ["g", "g", "c"]


def test_a_whole_gang_goes_to_one_node_if_one_takes_it():
    nodes = [node("a", gpu=2), node("b", gpu=4), node("c", gpu=8)]
    assert nodes_of(schedule(world(nodes, [workload("g", role(4, gpu=1))]), 0), "g") == ["b"] * 4


def test_small_jobs_leave_large_holes_whole():
    nodes = [node("a", gpu=8), node("b", gpu=8)]
    busy = [running("r", nodes[1], Amount(1000, GI, 6))]
    assert nodes_of(schedule(world(nodes, [workload("w", role(gpu=2))], running=tuple(busy)), 0), "w") == [
        "b"
    ]


def test_what_needs_no_gpu_leaves_gpu_nodes_alone():
    assert nodes_of(schedule(world([node("a", gpu=8), node("z")], [workload("w")]), 0), "w") == ["z"]


def test_flavors_and_clusters_are_tried_in_the_users_order():
    nodes = [
        node("a", gpu=1, flavor="a100"),
        node("h", gpu=1, flavor="h100"),
        node("x", gpu=1, cluster="far"),
    ]
    asked = [
        workload("1", role(gpu=1, flavors=["h100", "a100"]), place=1),
        workload("2", role(gpu=1, flavors=["h100", "a100"]), place=2),
        workload("3", role(gpu=1), place=3, clusters=("far", "local")),
    ]
    plan = schedule(world(nodes, asked), 0)
    assert [nodes_of(plan, name) for name in "123"] == [["h"], ["a"], ["x"]]


def test_one_who_waits_for_room_is_not_passed_on_its_flavor_but_others_go_on():
    nodes = [node("g", gpu=4), node("c", cpu=4)]
    busy = [running("r", nodes[0], Amount(1000, GI, 2), ends=100.0)]
    waiting = [
        workload("big", role(gpu=4), place=1),
        workload("small", role(gpu=1), place=2),
        workload("cpu", role(), place=3),
    ]
    plan = schedule(world(nodes, waiting, running=tuple(busy)), 40.0)
    assert admitted(plan) == ["cpu"]
    assert plan.reasons["big"].code == Code.WAITING_FOR_CAPACITY
    assert plan.reasons["big"].message == (
        "Needs 4 GPUs, 1 core and 1Gi of memory; 2 of 4 GPUs are free on gpu; "
        "the next job there ends within 1m."
    )
    assert plan.reasons["small"].code == Code.RESERVED_FOR_AHEAD


def test_one_who_waits_for_quota_or_can_never_run_holds_nobody_up():
    nodes = [node("g", gpu=4)]
    waiting = [
        workload("over", role(gpu=2), place=1, group="poor"),
        workload("never", role(gpu=16), place=2),
        workload("shut-out", role(gpu=1), place=3, exclude_nodes=frozenset({"g"})),
        workload("ok", role(gpu=4), place=4),
    ]
    plan = schedule(world(nodes, waiting, groups=quota("poor", "gpu", gpu=1)), 0)
    assert admitted(plan) == ["ok"]
    assert plan.reasons["over"].code == Code.EXCEEDS_MAX_QUOTA
    assert plan.reasons["never"].code == Code.NO_MATCHING_FLAVOR
    assert plan.reasons["shut-out"].code == Code.NODES_EXCLUDED


def test_a_quota_counts_all_groups_below_it():
    nodes = [node("g", gpu=8)]
    busy = [running("r", nodes[0], Amount(1000, GI, 2), group="research/vision")]
    waiting = [workload("w", role(gpu=2), group="research/speech")]
    plan = schedule(world(nodes, waiting, running=tuple(busy), groups=quota("research", "gpu", gpu=3)), 0)
    reason = plan.reasons["w"]
    assert reason.code == Code.WAITING_FOR_QUOTA
    assert reason.message == "Needs 2 GPUs on gpu; group research uses 2 GPUs of its quota of 3 GPUs."


@pytest.mark.parametrize(
    ("nodes", "shape", "code", "says"),
    [
        (
            [node("a")],
            {"flavors": ["h100"]},
            Code.NO_MATCHING_FLAVOR,
            "No node has flavor h100; there is cpu.",
        ),
        ([], {}, Code.NO_MATCHING_FLAVOR, "no node has more than 0 GPUs"),
        (
            [node("a", cpu=2)],
            {"cpu": 4},
            Code.NO_MATCHING_FLAVOR,
            "the largest node with flavor cpu has 2 cores",
        ),
        ([node("a", unusable="blocked: fan")], {}, Code.NODE_LOST, "without a (blocked: fan)"),
    ],
    ids=["flavor", "no nodes", "too large", "blocked"],
)
def test_the_reason_names_what_is_wrong(nodes, shape, code, says):
    plan = schedule(world(nodes, [workload("w", role(**shape))]), 0)
    assert plan.reasons["w"].code == code
    assert says in plan.reasons["w"].message


def test_labels_and_addresses_are_held_to():
    nodes = [node("a", labels={"disk": "ssd"}, address="10.0.0.1"), node("b", address="10.0.0.2")]
    waiting = [
        workload("ssd", labels=(("disk", "ssd"),), place=1),
        workload("not-1", exclude_addresses=frozenset({"10.0.0.1"}), place=2),
        workload("tape", labels=(("disk", "tape"),), place=3),
        workload("unknown", clusters=("mars",), place=4),
    ]
    plan = schedule(world(nodes, waiting), 0)
    assert (nodes_of(plan, "ssd"), nodes_of(plan, "not-1")) == (["a"], ["b"])
    assert plan.reasons["tape"].code == Code.NODES_EXCLUDED
    assert "no cluster mars" in plan.reasons["unknown"].message


def test_enough_in_all_but_not_together_is_said_so():
    nodes = [node("a", gpu=2), node("b", gpu=2)]
    busy = tuple(running(f"r-{n.name}", n, Amount(1000, GI, 1)) for n in nodes)
    plan = schedule(world(nodes, [workload("w", role(gpu=2))], running=busy), 0)
    assert plan.reasons["w"].code == Code.TOPOLOGY_PLACEMENT_FAILED


def test_a_closed_cluster_says_why_and_another_is_used():
    nodes = [node("a"), node("x", cluster="far")]
    waiting = [workload("1", clusters=("local",)), workload("2", place=1)]
    plan = schedule(world(nodes, waiting, clusters=full_disk("local")), 0)
    assert admitted(plan) == ["2"]
    assert (plan.reasons["1"].code, plan.reasons["1"].message) == (Code.DISK_LOW, "The disk is full.")


def test_several_causes_are_told_together_the_most_fundamental_first():
    nodes = [node("a", gpu=2)]
    busy = (running("r", nodes[0], Amount(1000, GI, 2)),)
    plan = schedule(
        world(nodes, [workload("w", role(gpu=1))], running=busy, groups=quota("research", "gpu", gpu=2)), 0
    )
    reason = plan.reasons["w"]
    assert [reason.code, *(cause.code for cause in reason.causes)] == [
        Code.WAITING_FOR_QUOTA,
        Code.WAITING_FOR_CAPACITY,
    ]


def test_ten_thousand_waiting_on_a_hundred_nodes_is_one_quick_pass():
    nodes = [node(f"n{i}", gpu=8, cpu=64) for i in range(100)]
    waiting = [
        workload(f"w{i}", role(1 + i % 3, gpu=1 + i % 8, cpu=1 + i % 5), place=i, group=f"g{i % 20}")
        for i in range(10_000)
    ]
    snapshot = world(nodes, waiting)
    begin = time.perf_counter()
    plan = schedule(snapshot, 0)
    print(f"{time.perf_counter() - begin:.3f} s, {len(plan.admit)} admitted, {len(snapshot.lines)} lines")
    assert len(plan.admit) + len(plan.reasons) == len(waiting)

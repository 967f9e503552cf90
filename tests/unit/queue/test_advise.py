"""Which change would start a workload now: one table for each kind, and the real pass as the judge of all."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from footplate_hub.queue.advise import Advisor, Fix
from footplate_hub.queue.changes import Freedom
from footplate_hub.queue.model import (
    Admission,
    Amount,
    GroupModel,
    Plan,
    Policy,
    Running,
    Snapshot,
    Workload,
)
from footplate_hub.queue.schedule import Pass, schedule
from footplate_spec.reasons import Reason
from footplate_spec.reasons import ReasonCode as Code
from proofs.queue.worlds import NOW, random_world
from support.worlds import GI, node, quota, role, running, workload, world

ANY = Freedom(groups=("b",), split=True)


def settled(snapshot: Snapshot) -> Snapshot:
    """What a pass admits runs; the others still wait."""
    plan = schedule(snapshot, NOW)
    waiting = [w for blocked in plan.blocked for w in blocked.workloads]
    return replace(
        snapshot,
        running=(*snapshot.running, *(started(admission) for admission in plan.admit)),
        lines=Snapshot.lines_of(waiting),
    )


def started(admission: Admission) -> Running:
    w = admission.workload
    return Running(
        w.id, w.group, admission.placements, w.priority, time_limit=w.time_limit, started=NOW, owner=w.owner
    )


def advisor(snapshot: Snapshot) -> tuple[Advisor, Plan]:
    current = Pass(snapshot, NOW)
    plan = current.plan()
    return current.advisor(), plan


def changed(snapshot: Snapshot, new: Workload) -> Snapshot:
    waiting = [w if w.id != new.id else new for line in snapshot.lines for w in line.workloads]
    return replace(snapshot, lines=Snapshot.lines_of(waiting))


def says(snapshot: Snapshot, name: str, freedom: Freedom = ANY) -> list[str]:
    """The sentences, each proved by the pass."""
    wanted = {w.id: w for line in snapshot.lines for w in line.workloads}[name]
    fixes = advisor(snapshot)[0].fixes(wanted, freedom)
    assert [fix for fix in fixes if not works(snapshot, fix)] == []
    return [fix.says for fix in fixes]


def works(snapshot: Snapshot, fix: Fix) -> bool:
    plan = schedule(changed(snapshot, fix.workload), NOW)
    if fix.kind == "wait":
        return any(r.workload == fix.workload.id and r.start == fix.start for r in plan.reserve)
    return fix.workload.id in {admission.workload.id for admission in plan.admit}


def halves(*gpus: int, **extra: Any) -> tuple[list[Any], tuple[Running, ...]]:
    """Nodes of eight GPUs, of which so many are in use until 4600."""
    nodes = [node(f"n{i}", gpu=8, cpu=16, **extra) for i in range(len(gpus))]
    busy = [
        running(f"r{i}", n, Amount(1000, GI, used), ends=NOW + 3600, group="c")
        for i, (n, used) in enumerate(zip(nodes, gpus, strict=True))
        if used
    ]
    return nodes, tuple(busy)


def test_a_split_is_offered_where_one_node_has_too_little_and_several_have_enough():
    nodes, busy = halves(4, 4)
    snapshot = world(nodes, [workload("w", role(gpu=8, cpu=8), group="a")], running=busy)
    assert says(snapshot, "w") == [
        "2 × 4 GPUs instead of 8 on one node",
        "4 GPUs instead of 8",
        "no change",
    ]
    assert "2 × 4" not in " ".join(says(snapshot, "w", Freedom()))


def test_another_flavor_cluster_or_group_is_offered_where_it_has_room():
    nodes = [
        node("h", gpu=4, flavor="h100"),
        node("a", gpu=4, flavor="a100"),
        node("x", gpu=4, flavor="h100", cluster="far"),
    ]
    busy = (running("r", nodes[0], Amount(1000, GI, 4), group="c"),)
    wanted = workload("w", role(gpu=4, flavors=["h100"]), group="a", clusters=("local",))
    assert says(world(nodes, [wanted], running=busy), "w") == [
        "flavor a100 instead of h100",
        "cluster far instead of local",
    ]
    poor = quota("a", "h100", hard=True, gpu=0)
    wanted = workload("w", role(gpu=4, flavors=["h100"]), group="a", clusters=("local",))
    assert says(world(nodes, [wanted], groups=poor), "w")[-1] == "group b instead of a"


def test_exclusions_labels_and_topology_are_dropped_one_by_one():
    nodes = [node("n1", gpu=2, labels={"disk": "hdd"}, address="10.0.0.1"), node("n2", gpu=2)]
    wanted = workload("w", role(gpu=2), labels=(("disk", "ssd"),), group="a")
    assert says(world(nodes, [wanted]), "w") == ["without the label disk=ssd"]
    wanted = workload("w", role(gpu=2), exclude_nodes=frozenset({"n1", "n2"}), group="a")
    assert says(world(nodes, [wanted]), "w") == [
        "node n1 not excluded",
        "node n2 not excluded",
    ]
    wanted = workload("w", role(2, gpu=2), topology="node", group="a")
    assert says(world(nodes, [wanted]), "w", Freedom(fewer=False)) == ["anywhere instead of on one node"]


def test_where_no_single_change_helps_two_are_offered():
    nodes = [node("h", gpu=4, flavor="h100"), node("a", gpu=2, flavor="a100")]
    busy = (running("r", nodes[0], Amount(1000, GI, 4), group="c"),)
    snapshot = world(nodes, [workload("w", role(gpu=4, flavors=["h100"]))], running=busy)
    assert says(snapshot, "w", Freedom()) == ["flavor a100 instead of h100, and 2 GPUs instead of 4"]


def test_fewer_gpus_take_less_of_the_rest_along_only_where_they_must():
    nodes = [node("n", gpu=8, cpu=8)]
    busy = (running("r", nodes[0], Amount(4000, GI, 4), group="c"),)
    snapshot = world(nodes, [workload("w", role(gpu=8, cpu=8), group="a")], running=busy)
    assert says(snapshot, "w", Freedom()) == [
        "4 GPUs, 4 cores and 512Mi of memory instead of 8 GPUs, 8 cores and 1Gi of memory"
    ]


def test_of_each_kind_three_changes_are_enough():
    nodes = [node("h", gpu=4, flavor="h100"), *(node(f"n{i}", gpu=4, flavor=f"f{i}") for i in range(5))]
    busy = (running("r", nodes[0], Amount(1000, GI, 4), group="c"),)
    snapshot = world(nodes, [workload("w", role(gpu=4, flavors=["h100"]))], running=busy)
    assert says(snapshot, "w", Freedom()) == [f"flavor f{i} instead of h100" for i in range(3)]


def test_a_shorter_time_limit_passes_those_ahead_and_the_longest_is_offered():
    nodes, busy = halves(4)
    waiting = [
        workload("big", role(gpu=8), place=1, group="a"),
        workload("w", role(gpu=2), place=2, group="b"),
    ]
    waiting = [replace(w, time_limit=86400) for w in waiting]
    snapshot = world(nodes, waiting, running=busy)
    assert says(snapshot, "w") == ["a time limit of 1h instead of 1d"]


def test_behind_one_whom_nobody_may_pass_only_another_place_helps():
    nodes, busy = halves(4)
    nodes.append(node("a", gpu=2, flavor="a100"))
    forever = tuple(replace(r, ends=None) for r in busy)
    groups = {"a": GroupModel("a", policy=Policy(backfill=False))}
    waiting = [
        workload("big", role(gpu=8, flavors=["gpu"]), place=1, group="a"),
        workload("w", role(gpu=2, flavors=["gpu"]), place=2, group="a"),
    ]
    snapshot = world(nodes, waiting, running=forever, groups=groups)
    assert says(snapshot, "w", Freedom(groups=("b",))) == ["flavor a100 instead of gpu"]


def test_fewer_replicas_are_offered_the_most_that_start():
    nodes, busy = halves(4, 6)
    snapshot = world(nodes, [workload("w", role(8, gpu=1, cpu=1), group="a")], running=busy)
    assert says(snapshot, "w")[0] == "6 replicas instead of 8"


def test_too_much_memory_or_too_many_cores_for_any_node_are_cut_to_what_there_is():
    nodes = [node("n", cpu=8, memory=64)]
    assert says(world(nodes, [workload("w", role(cpu=12))]), "w") == ["8 cores instead of 12"]
    assert says(world(nodes, [workload("w", role(memory=100))]), "w") == ["64Gi of memory instead of 100Gi"]


def test_who_waits_for_something_else_than_the_queue_is_offered_nothing():
    wanted = replace(workload("w"), waits=Reason(code=Code.SUSPENDED, message="It is suspended."))
    assert says(world([node("n")], [wanted]), "w") == []
    held = Reason(code=Code.DISK_LOW, message="The disk is full.")
    groups = {"a": GroupModel("a", held=held)}
    snapshot = world([node("n")], [workload("w", group="a")], groups=groups)
    assert says(snapshot, "w") == ["group b instead of a"]


@pytest.mark.parametrize(
    ("wanted", "starts", "code"),
    [
        (workload("w", role(gpu=2)), "now", None),
        (workload("w", role(gpu=8)), "at", Code.WAITING_FOR_CAPACITY),
        (workload("w", role(gpu=16)), "never", Code.NO_MATCHING_FLAVOR),
        (workload("w", role(gpu=2), group="poor"), "never", Code.EXCEEDS_MAX_QUOTA),
    ],
)
def test_a_check_says_whether_it_would_start_and_by_when(wanted, starts, code):
    nodes, busy = halves(4)
    verdict = advisor(world(nodes, [], running=busy, groups=quota("poor", "gpu", gpu=1)))[0].check(wanted)
    assert (verdict.starts, verdict.reason and verdict.reason.code) == (starts, code)
    assert verdict.at == {"now": NOW, "at": NOW + 3600, "never": None}[starts]


def test_a_check_changes_nothing():
    nodes, busy = halves(4)
    asked = advisor(world(nodes, [], running=busy))[0]
    first = [asked.check(workload(f"w{i}", role(gpu=4))).starts for i in range(3)]
    assert first == ["now", "now", "now"]


@pytest.mark.parametrize("seed", range(150))
def test_each_change_that_is_offered_starts_it_and_no_check_is_wrong(seed):
    snapshot = settled(random_world(random.Random(seed)))
    asked, plan = advisor(snapshot)
    assert plan.admit == ()
    for wanted in [w for line in snapshot.lines for w in line.workloads][:4]:
        fixes = asked.fixes(wanted, Freedom(groups=("a", "a/x", "b"), split=True), most=20)
        assert [fix.says for fix in fixes if not works(snapshot, fix)] == []
        verdict = asked.check(wanted)
        assert (verdict.starts == "now", verdict.reason.code) == (False, plan.reasons[wanted.id].code)

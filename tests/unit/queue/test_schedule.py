"""What a pass decides, as tables; `test_invariants` holds it to its promises on random worlds."""

from __future__ import annotations

import random
import time

from footplate_hub.queue.model import Amount, ClusterModel, GroupModel, PersonLimit, Policy, Running
from footplate_hub.queue.schedule import schedule
from footplate_spec.reasons import Reason
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


def test_who_waits_for_room_has_nodes_kept_by_time_limits_and_is_passed_only_by_those_who_end_before():
    nodes = [node("g", gpu=4), node("c", cpu=4)]
    busy = [running("r", nodes[0], Amount(1000, GI, 2), ends=100.0)]
    waiting = [
        workload("big", role(gpu=4), place=1),
        workload("long", role(gpu=1), place=2, time_limit=61),
        workload("endless", role(gpu=1), place=3),
        workload("short", role(gpu=1), place=4, time_limit=60),
        workload("cpu", role(flavors=["cpu"]), place=5),
    ]
    plan = schedule(world(nodes, waiting, running=tuple(busy)), 40.0)
    assert admitted(plan) == ["short", "cpu"]
    [kept] = plan.reserve
    assert (kept.workload, kept.start, {p.node for p in kept.placements}) == ("big", 100.0, {"g"})
    assert plan.reasons["big"].code == Code.WAITING_FOR_CAPACITY
    assert plan.reasons["big"].message == (
        "Needs 4 GPUs; 1 of 4 is free on gpu. A node is kept for it: by the time limits of what runs there "
        "it starts within 1m."
    )
    assert plan.reasons["big"].numbers["start"] == 100.0
    assert plan.reasons["long"].code == Code.RESERVED_FOR_AHEAD
    assert plan.reasons["long"].message == (
        "There is room on gpu, but it is kept for a job ahead in line that starts within 1m, "
        "and this one may run for 1m1s."
    )
    assert plan.reasons["endless"].message.endswith("and this one has no time limit.")


def test_what_a_reservation_leaves_over_is_open_to_all():
    nodes = [node("a", gpu=4), node("b", gpu=4)]
    busy = [
        running("r", n, Amount(1000, GI, 3), ends=end) for n, end in zip(nodes, (100.0, 900.0), strict=True)
    ]
    waiting = [workload("big", role(gpu=4), place=1), workload("endless", role(2, gpu=1), place=2)]
    plan = schedule(world(nodes, [*waiting, workload("one", role(gpu=1), place=3)], running=tuple(busy)), 0)
    assert [p.node for p in plan.reserve[0].placements] == ["a"]
    assert {w: nodes_of(plan, w) for w in admitted(plan)} == {"one": ["b"]}
    assert plan.reasons["endless"].code == Code.RESERVED_FOR_AHEAD


def test_without_backfill_nobody_passes_where_one_waits_for_room():
    nodes = [node("g", gpu=4), node("c", cpu=4)]
    busy = (running("r", nodes[0], Amount(1000, GI, 2), ends=100.0),)
    waiting = [
        workload("big", role(gpu=4), place=1),
        workload("short", role(gpu=1), place=2, time_limit=1),
        workload("cpu", role(flavors=["cpu"]), place=3),
    ]
    groups = {"research": GroupModel("research", policy=Policy(backfill=False))}
    plan = schedule(world(nodes, waiting, running=busy, groups=groups), 0)
    assert admitted(plan) == ["cpu"]
    assert plan.reasons["short"].message == "There is room on gpu, but nobody may pass the job ahead in line."


def test_a_service_never_ends_so_nothing_is_kept_for_who_would_have_to_wait_for_it():
    nodes = [node("g", gpu=4)]
    busy = (running("service", nodes[0], Amount(1000, GI, 2)),)
    waiting = [workload("big", role(gpu=4), place=1), workload("endless", role(gpu=1), place=2)]
    plan = schedule(world(nodes, waiting, running=busy), 0)
    assert (plan.reserve, admitted(plan)) == ((), ["endless"])


def test_quota_is_kept_with_the_nodes():
    nodes = [node("a", gpu=4), node("b", gpu=4)]
    busy = (running("r", nodes[0], Amount(1000, GI, 2), ends=100.0, group="other"),)
    waiting = [
        workload("big", role(2, gpu=3), place=1),
        workload("endless", role(gpu=2), place=2),
        workload("short", role(gpu=2), place=3, time_limit=100),
    ]
    plan = schedule(world(nodes, waiting, running=busy, groups=quota("research", "gpu", gpu=6)), 0)
    assert admitted(plan) == ["short"]
    assert plan.reasons["endless"].code == Code.RESERVED_FOR_AHEAD


def test_a_large_gang_among_small_jobs_starts_no_later_than_its_reservation():
    nodes = [node(f"n{i:02}", gpu=8, cpu=64) for i in range(64)]
    gang = workload("gang", role(64, gpu=8), place=10.0, time_limit=1000)
    busy: dict[str, Running] = {}
    bound = None
    small = 0
    rng = random.Random(7)
    for now in range(0, 4000, 10):
        busy = {name: r for name, r in busy.items() if r.ends is not None and r.ends > now}
        waiting = [
            workload(
                f"s{small + i}",
                role(gpu=rng.choice([1, 2, 4])),
                place=now + i / 10,
                time_limit=rng.randint(1, 90) * 10,
            )
            for i in range(8)
        ]
        small += 8
        plan = schedule(world(nodes, [gang, *waiting], running=tuple(busy.values())), now)
        if "gang" in admitted(plan):
            break
        if plan.reserve:
            assert bound is None or plan.reserve[0].start <= bound
            bound = plan.reserve[0].start
        for a in plan.admit:
            busy[a.workload.id] = Running(
                a.workload.id, "research", a.placements, ends=now + a.workload.time_limit, started=now
            )
    assert bound is None or now <= bound


def test_topology_is_held_to_and_gangs_are_packed_into_one_rack_where_it_goes():
    nodes = [node(f"{rack}{i}", gpu=2, levels=("hall", rack)) for rack in "abc" for i in range(3)]
    busy = (running("r", nodes[0], Amount(1000, GI, 1)),)
    waiting = [
        workload("rack", role(4, gpu=1), place=1, topology="rack"),
        workload("node", role(3, gpu=1), place=2, topology="node"),
        workload("any", role(6, gpu=1), place=3),
    ]
    plan = schedule(world(nodes, waiting, running=busy), 0)
    assert nodes_of(plan, "rack") == ["a1", "a1", "a2", "a2"]
    assert nodes_of(plan, "any") == ["b0", "b0", "b1", "b1", "b2", "b2"]
    assert plan.reasons["node"].code == Code.NO_MATCHING_FLAVOR


def test_enough_in_all_but_in_no_rack_is_said_so():
    nodes = [node(f"{rack}0", gpu=2, levels=(rack,)) for rack in "ab"]
    busy = (running("r", nodes[0], Amount(1000, GI, 1)), running("s", nodes[1], Amount(1000, GI, 1)))
    plan = schedule(world(nodes, [workload("w", role(2, gpu=1), topology="rack")], running=busy), 0)
    assert plan.reasons["w"].code == Code.TOPOLOGY_PLACEMENT_FAILED
    assert plan.reasons["w"].message == (
        "Needs 2 × 1 GPU in one rack; 2 GPUs are free on gpu, but no rack has room for more than 1 of its 2 "
        "replicas."
    )


def test_only_clusters_of_its_region_are_used():
    nodes = [node("a"), node("x", cluster="far")]
    clusters = {"local": ClusterModel("local", region="eu"), "far": ClusterModel("far", region="us")}
    waiting = [workload("1", region="us"), workload("2", region="mars")]
    plan = schedule(world(nodes, waiting, clusters=clusters), 0)
    assert nodes_of(plan, "1") == ["x"]
    assert plan.reasons["2"].message == (
        "None of the clusters that it may use is in region mars; they are in eu and us."
    )


def test_an_elastic_gang_gets_as_many_as_fit_and_its_quota_allows():
    nodes = [node("a", gpu=8), node("b", gpu=8)]
    waiting = [
        workload("quota", role(2, gpu=1, most=16), place=1, group="poor"),
        workload("room", role(1, gpu=2, most=16), place=2),
    ]
    plan = schedule(world(nodes, waiting, groups=quota("poor", "gpu", gpu=5)), 0)
    assert len(nodes_of(plan, "quota")) == 5
    assert len(nodes_of(plan, "room")) == 5


def test_an_elastic_gang_waits_if_not_even_its_fewest_fit():
    plan = schedule(world([node("a", gpu=2)], [workload("w", role(3, gpu=1, most=9))]), 0)
    assert plan.reasons["w"].code == Code.NO_MATCHING_FLAVOR


def test_what_waits_for_something_of_its_own_or_is_held_says_so_and_keeps_nobody_up():
    suspended = Reason(code=Code.SUSPENDED, message="Suspended by ada.")
    held = Reason(code=Code.HELD, message="Held by the operator.")
    groups = {"closed": GroupModel("closed", held=held)}
    waiting = [
        workload("suspended", place=1, waits=suspended),
        workload("below", place=2, group="closed/a"),
        workload("ok", role(cpu=8), place=3),
    ]
    plan = schedule(world([node("a")], waiting, groups=groups), 0)
    assert admitted(plan) == ["ok"]
    assert plan.reasons["suspended"].message == "Suspended by ada."
    assert plan.reasons["below"].message == "Held by the operator."


def test_one_person_may_not_have_more_than_their_limit_and_others_go_on():
    groups = {"research": GroupModel("research", person=PersonLimit(running=1))}
    waiting = [
        workload("1", place=1, owner="ada"),
        workload("2", place=2, owner="ada"),
        workload("3", place=3, owner="ben"),
    ]
    plan = schedule(world([node("n")], waiting, groups=groups), 0)
    assert admitted(plan) == ["1", "3"]
    assert plan.reasons["2"].code == Code.LIMIT_REACHED


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
    assert reason.message == "Needs 2 GPUs on gpu; group research uses 2 of its 3 GPUs."


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
    assert plan.reasons["w"].message == (
        "Needs 2 GPUs on one node; 2 GPUs are free on gpu, but at most 1 on one node."
    )


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

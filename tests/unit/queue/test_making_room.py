"""How the pass stops some for others: what is kept meanwhile, and for whom."""

from __future__ import annotations

from dataclasses import replace

from footplate_hub.queue.model import Amount, GroupModel, Limit, Preemption, Quota
from footplate_hub.queue.schedule import schedule
from footplate_spec.reasons import ReasonCode as Code
from support.worlds import GI, node, quota, role, running, workload, world

FULL = Amount(1000, GI, 4)


def admitted(plan) -> list[str]:
    return [admission.workload.id for admission in plan.admit]


def test_the_higher_priority_stops_the_lower_and_waits_for_it():
    on = node("n", gpu=4)
    plan = schedule(
        world([on], [workload("w", role(gpu=4), priority=9)], running=(running("r", on, FULL),)), 0
    )
    assert plan.preempt == (Preemption("r", "w", "priority"),)
    reason = plan.reasons["w"]
    assert reason.code == Code.WAITING_FOR_PREEMPTED_WORKLOADS
    assert (
        reason.message
        == "1 job makes room for it: told to save and to stop, and it starts when that is done."
    )
    assert (reason.numbers, plan.reserve) == ({"stopping": 1}, ())


def test_what_is_free_already_is_kept_for_who_waits_for_the_rest():
    on = node("n", gpu=4)
    busy = (running("r", on, Amount(1000, GI, 2)),)
    waiting = [workload("w", role(gpu=4), priority=9), workload("short", role(gpu=1), time_limit=1)]
    plan = schedule(world([on], waiting, running=busy), 0)
    assert (admitted(plan), len(plan.preempt)) == ([], 1)
    assert plan.reasons["short"].code == Code.RESERVED_FOR_AHEAD
    assert plan.reasons["short"].message.endswith("starts as soon as others have made more.")


def test_who_is_owed_room_goes_before_all_others_and_stops_nobody_else_meanwhile():
    on, other = node("n", gpu=4), node("m", gpu=4)
    stopping = replace(running("r", on, FULL), stopping=True)
    busy = running("s", other, FULL)
    owed = replace(workload("w", role(gpu=4), place=9, priority=1), owed=True)
    ahead = workload("first", role(gpu=4), place=1, priority=5, group="other")
    plan = schedule(world([on, other], [ahead, owed], running=(stopping, busy)), 0)
    assert (admitted(plan), plan.preempt) == ([], ())
    assert plan.reasons["w"].code == Code.WAITING_FOR_PREEMPTED_WORKLOADS
    assert plan.reasons["first"].code == Code.WAITING_FOR_CAPACITY
    plan = schedule(world([on, other], [ahead, owed], running=(busy,)), 0)
    assert admitted(plan) == ["w"]


def test_each_of_several_alike_has_others_stopped():
    nodes = [node(f"n{i}", gpu=4) for i in range(3)]
    busy = tuple(running(f"r{n.name}", n, FULL) for n in nodes)
    waiting = [workload(f"w{i}", role(gpu=4), priority=9, place=i) for i in range(4)]
    plan = schedule(world(nodes, waiting, running=busy), 0)
    assert sorted((p.workload, p.running) for p in plan.preempt) == [
        ("w0", "rn0"),
        ("w1", "rn1"),
        ("w2", "rn2"),
    ]
    assert plan.reasons["w3"].code == Code.WAITING_FOR_CAPACITY


def test_a_group_takes_back_what_others_borrow_from_it():
    nodes = [node("n", gpu=4), node("m", gpu=4)]
    groups = {name: GroupModel(name, {("local", "gpu"): Quota(Limit(gpu=4))}) for name in ("a", "b")}
    busy = tuple(running(f"r{n.name}", n, FULL, group="b") for n in nodes)
    plan = schedule(world(nodes, [workload("w", role(gpu=4), group="a")], running=busy, groups=groups), 0)
    assert [(p.workload, p.why) for p in plan.preempt] == [("w", "reclaim")]


def test_nobody_is_stopped_on_nodes_that_are_kept_for_one_ahead():
    on = node("n", gpu=4)
    waiting = [
        workload("ahead", role(gpu=4), place=1, priority=1, group="other"),
        workload("w", role(gpu=4), priority=1, place=2),
    ]
    busy = (running("r", on, FULL, ends=100.0),)
    plan = schedule(world([on], waiting, running=busy), 0)
    assert (plan.preempt, plan.reserve[0].workload) == ((), "ahead")


def test_nobody_is_stopped_where_a_reservation_leaves_enough_of_what_comes_free():
    shared, other = node("n", gpu=2), node("m", gpu=1)
    busy = (
        replace(running("s", shared, Amount(1000, GI, 2), ends=100.0), stopping=True),
        running("r", other, Amount(1000, GI, 1)),
    )
    waiting = [
        workload("ahead", role(gpu=1), priority=9, group="other", exclude_nodes=frozenset({"m"})),
        workload("w", role(gpu=1), priority=5),
    ]
    plan = schedule(world([shared, other], waiting, running=busy), 0)
    assert (plan.preempt, [r.workload for r in plan.reserve]) == ((), ["ahead"])


def test_who_stops_others_beside_a_reservation_takes_nothing_of_it_and_what_is_left_is_counted_once():
    on = node("n", gpu=5)
    waiting = [
        workload("ahead", role(gpu=2), priority=9, group="other"),
        workload("w", role(gpu=3), priority=5),
        workload("behind", role(gpu=1), group="other"),
    ]
    busy = (running("r", on, FULL, ends=100.0),)
    plan = schedule(world([on], waiting, running=busy), 0)
    assert [(p.running, p.workload) for p in plan.preempt] == [("r", "w")]
    assert ([r.start for r in plan.reserve], admitted(plan)) == ([100.0], [])
    assert plan.reasons["behind"].code == Code.RESERVED_FOR_AHEAD


def test_nobody_is_stopped_who_would_free_the_quota_of_a_reservation_for_one_behind_it():
    large, small, idle = node("n", gpu=6), node("m", gpu=2), node("k", gpu=2)
    busy = (
        running("r", large, Amount(1000, GI, 6)),
        running("s", small, Amount(1000, GI, 2), ends=100.0, group="other"),
    )
    waiting = [
        workload("ahead", role(gpu=2), priority=9, exclude_nodes=frozenset({"n", "k"})),
        workload("w", role(7, gpu=1), priority=5),
    ]
    groups = quota("research", "gpu", hard=True, gpu=8)
    plan = schedule(world([large, small, idle], waiting, running=busy, groups=groups), 0)
    assert ([r.workload for r in plan.reserve], plan.preempt) == (["ahead"], ())


def test_nobody_is_stopped_where_another_flavor_comes_free_anyway():
    new, old = node("n", gpu=1, flavor="new"), node("o", gpu=1, flavor="old")
    busy = (
        replace(running("s", old, Amount(1000, GI, 1)), stopping=True),
        running("r", new, Amount(1000, GI, 1), group="b"),
    )
    groups = {
        name: GroupModel(name, {("local", "new"): Quota(Limit(gpu=own))})
        for name, own in (("a", 1), ("b", 0))
    }
    waiting = [workload("w", role(gpu=1), group="a")]
    assert schedule(world([new, old], waiting, running=busy, groups=groups), 0).preempt == ()
    alone = schedule(world([new], waiting, running=busy[1:], groups=groups), 0)
    assert [p.running for p in alone.preempt] == ["r"]


def test_nobody_is_stopped_for_what_could_not_start_even_then():
    on = node("n", gpu=4)
    waiting = [
        workload("w", role(2, gpu=4), priority=9),
        workload("v", role(gpu=4), priority=9, group="poor"),
    ]
    groups = quota("poor", "gpu", gpu=1)
    plan = schedule(world([on], waiting, running=(running("r", on, FULL),), groups=groups), 0)
    assert plan.preempt == ()

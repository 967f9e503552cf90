"""What a group may use over time: who starts under a budget, and what the others are told and offered."""

from __future__ import annotations

import random

import pytest

from footplate_hub.queue.changes import Freedom
from footplate_hub.queue.model import Amount, Budget, GroupModel, Price, Spent
from footplate_hub.queue.schedule import Pass, schedule
from footplate_spec.reasons import ReasonCode as Code
from support.worlds import GI, node, role, running, workload, world

HOUR = 3600
DAY = 24 * HOUR
NOW = 1_790_000_000.0  # 21 September 2026
RENEWS = 1_790_812_800.0  # 1 October 2026
ON = node("n", gpu=8)


def budget(hours: float | None = None, *, cost: float | None = None, ended: float = 0.0) -> Budget:
    seconds = None if hours is None else hours * HOUR
    return Budget(seconds, cost, NOW - 20 * DAY, RENEWS, Spent(ended * HOUR, ended), "month", "EUR")


def groups(**budgets: Budget) -> dict[str, GroupModel]:
    return {
        name.replace("__", "/"): GroupModel(name.replace("__", "/"), budget=b) for name, b in budgets.items()
    }


def admitted(plan) -> list[str]:
    return [admission.workload.id for admission in plan.admit]


def hours(name: str, gpu: int, time: float, **extra):
    return workload(name, role(gpu=gpu), time_limit=int(time * HOUR), **extra)


def test_a_job_starts_if_the_budget_holds_to_its_time_limit_and_later_ones_count_it():
    waiting = [hours("a", 2, 4, place=1), hours("b", 1, 3, place=2), hours("c", 1, 2, place=3)]
    plan = schedule(world([ON], waiting, groups=groups(research=budget(10))), NOW)
    assert admitted(plan) == ["a", "c"]
    reason = plan.reasons["b"]
    assert reason.code == Code.LIMIT_REACHED
    assert reason.message == (
        "Needs up to 3 GPU-hours by its time limit; of the budget of group research, 10 GPU-hours a month, "
        "0 GPU-hours are used and 10 GPU-hours reserved by what runs: 0 GPU-hours are left until it renews "
        "in 9d9h."
    )
    assert (reason.numbers["asked"], reason.numbers["left"], reason.numbers["renews"]) == (3, 0, RENEWS)


def test_what_ended_what_runs_and_what_it_may_still_use_count_and_jobs_without_gpus_do_not():
    runs = running("r", ON, Amount(1000, GI, 2), ends=NOW + 2 * HOUR)
    runs = type(runs)(**{**vars(runs), "time_limit": 3 * HOUR})
    waiting = [hours("gpu", 1, 1), workload("cpu", role(gpu=0), time_limit=DAY)]
    snapshot = world([ON], waiting, running=(runs,), groups=groups(research=budget(10, ended=3.5)))
    plan = schedule(snapshot, NOW)
    assert admitted(plan) == ["cpu"]
    numbers = plan.reasons["gpu"].numbers
    assert (numbers["used"], numbers["reserved"], numbers["left"]) == (5.5, 4, 0.5)


def test_the_budget_of_a_group_holds_for_all_below_it_and_for_nobody_beside_it():
    both = groups(research=budget(5), research__vision=budget(100))
    waiting = [hours("v", 2, 4, group="research/vision"), hours("s", 2, 4, group="sales")]
    plan = schedule(world([ON], waiting, groups=both), NOW)
    assert admitted(plan) == ["s"]
    assert plan.reasons["v"].numbers["group"] == "research"


def test_more_than_the_whole_budget_is_told_so_and_never_waits_for_its_renewal():
    snapshot = world([ON], [hours("w", 8, 10)], groups=groups(research=budget(50)))
    current = Pass(snapshot, NOW)
    plan = current.plan()
    assert plan.reasons["w"].message == (
        "Needs up to 80 GPU-hours by its time limit, more than the whole budget of group research: "
        "50 GPU-hours a month."
    )
    fixes = current.advisor().fixes(hours("w", 8, 10), Freedom(), most=9)
    assert {fix.kind for fix in fixes} == {"time_limit", "resources"}


def test_every_offered_change_starts_it_and_the_renewal_is_named():
    snapshot = world([ON], [hours("w", 4, 10)], groups=groups(research=budget(50, ended=30)))
    current = Pass(snapshot, NOW)
    current.plan()
    fixes = current.advisor().fixes(hours("w", 4, 10), Freedom(groups=("sales",)), most=9)
    says = [fix.says for fix in fixes]
    assert "a time limit of 5h instead of 10h" in says
    assert "group sales instead of research" in says
    assert fixes[-1].says == "no change, once the budget of group research renews"
    assert fixes[-1].start == RENEWS
    for fix in fixes[:-1]:
        again = schedule(world([ON], [fix.workload], groups=snapshot.groups), NOW)
        assert admitted(again) == ["w"], fix.says
    renewed = groups(research=Budget(50 * HOUR, None, RENEWS, RENEWS + 31 * DAY))
    assert admitted(schedule(world([ON], [fixes[-1].workload], groups=renewed), RENEWS)) == ["w"]


def test_what_still_runs_after_the_renewal_counts_in_the_next_period():
    runs = running("r", ON, Amount(1000, GI, 4), ends=RENEWS + 10 * HOUR)
    runs = type(runs)(**{**vars(runs), "time_limit": 20 * DAY})
    snapshot = world([ON], [hours("w", 4, 4)], running=(runs,), groups=groups(research=budget(50)))
    current = Pass(snapshot, NOW)
    current.plan()
    assert [f for f in current.advisor().fixes(hours("w", 4, 4), Freedom(fewer=False)) if f.start] == []


def test_money_counts_by_the_flavor_and_a_cheaper_one_is_taken():
    nodes = [node("dear", gpu=8, flavor="a"), node("cheap", gpu=8, flavor="b")]
    prices = {"a": Price(gpu_hour=10.0), "b": Price(gpu_hour=1.0, core_hour=1.0)}
    either = workload("w", role(gpu=1, flavors=("a", "b")), time_limit=10 * HOUR)
    only = workload("v", role(gpu=1, flavors=("a",)), time_limit=10 * HOUR, place=1)
    spend = groups(research=budget(cost=60))
    plan = schedule(world(nodes, [either, only], groups=spend, prices=prices), NOW)
    assert [a.placements[0].flavor for a in plan.admit] == ["b"]
    reason = plan.reasons["v"]
    assert reason.code == Code.LIMIT_REACHED
    assert reason.message.startswith("Needs up to 100.00 EUR by its time limit, more than the whole budget")
    full = schedule(world([nodes[0]], [either, only], groups=spend, prices=prices), NOW)
    assert {r.code for r in full.reasons.values()} == {Code.LIMIT_REACHED}


def test_what_a_reserved_job_will_need_is_not_spent_by_those_behind_it():
    busy = running("r", ON, Amount(1000, GI, 4), group="sales", ends=NOW + HOUR)
    busy = type(busy)(**{**vars(busy), "time_limit": HOUR})
    waiting = [hours("large", 8, 2, place=1), hours("small", 1, 1, place=2)]
    plan = schedule(world([ON], waiting, running=(busy,), groups=groups(research=budget(16))), NOW)
    assert (admitted(plan), [r.workload for r in plan.reserve]) == ([], ["large"])
    assert plan.reasons["large"].code == Code.WAITING_FOR_CAPACITY
    assert plan.reasons["small"].code == Code.RESERVED_FOR_AHEAD
    assert "of the budget of group research is kept for a job ahead" in plan.reasons["small"].message


@pytest.mark.parametrize("seed", range(30))
def test_no_period_is_overspent_and_every_code_is_that_of_its_sentence(seed):
    chance = random.Random(seed)
    nodes = [node("a", gpu=8, flavor="a"), node("b", gpu=4, flavor="b")]
    names = ["research", "research/vision", "sales"]
    limits = {
        name: GroupModel(
            name,
            budget=budget(
                chance.choice([None, 5, 20, 60]), cost=chance.choice([10, 40, 200]), ended=chance.random() * 4
            ),
        )
        for name in chance.sample(names, 2)
    }
    prices = {"a": Price(3.0, 0.1), "b": Price(1.0)}
    waiting = [
        workload(
            f"w{i}",
            role(gpu=chance.choice([0, 1, 2, 4]), flavors=chance.choice([(), ("a",), ("b", "a")])),
            time_limit=chance.choice([0, HOUR, 4 * HOUR, DAY]),
            group=chance.choice(names),
            place=i,
        )
        for i in range(12)
    ]
    snapshot = world(nodes, waiting, groups=limits, prices=prices)
    plan = schedule(snapshot, NOW)
    for name, group in limits.items():
        spent, money = group.budget.ended.gpu_seconds, group.budget.ended.cost
        for admission in plan.admit:
            w = admission.workload
            if w.group == name or w.group.startswith(f"{name}/"):
                seconds = w.time_limit or RENEWS - NOW
                for p in admission.placements:
                    spent += p.need.gpu * seconds
                    money += seconds / HOUR * p.need.gpu * prices[p.flavor].gpu_hour
                    money += seconds / HOUR * p.need.cpu / 1000 * prices[p.flavor].core_hour
        assert group.budget.gpu_seconds is None or spent <= group.budget.gpu_seconds + 1
        assert money <= group.budget.cost + 0.01
    assert len(plan.admit) + len(plan.reasons) == len(waiting)
    for blocked in plan.blocked:
        assert blocked.reason.code == blocked.code
    # Who has one way to run, and starts once there are no budgets, was told of a budget.
    left = [w for w in waiting if w.id in plan.reasons and w.shape.roles[0].flavors == ("a",)]
    runs = tuple(admission.running(NOW) for admission in plan.admit)
    for name in admitted(schedule(world(nodes, left, running=runs, prices=prices), NOW)):
        assert plan.reasons[name].code in {Code.LIMIT_REACHED, Code.RESERVED_FOR_AHEAD}

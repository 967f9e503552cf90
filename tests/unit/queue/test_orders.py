"""In which order those who wait are considered."""

from __future__ import annotations

import numpy as np
import pytest

from footplate_hub.queue.model import Amount, ClusterModel, GroupModel, Limit, Policy, Quota, Running
from footplate_hub.queue.orders import Use, fair_share, fifo, order_named, orders, young
from footplate_hub.queue.schedule import schedule
from footplate_hub.queue.sequence import Members, Sequence, arrange
from support.worlds import GI, node, role, running, workload, world


def admitted(plan) -> list[str]:
    return [admission.workload.id for admission in plan.admit]


def test_fair_share_lets_the_group_go_first_that_had_the_least_and_counts_admissions_at_once():
    clusters = {"local": ClusterModel("local", policy=Policy(order="fair_share"))}
    groups = {"a": GroupModel("a", used=7200.0), "b": GroupModel("b"), "c": GroupModel("c", used=1e9)}
    waiting = [
        workload(f"{group}{i}", role(gpu=1), place=i, group=group, time_limit=3600)
        for i in range(4)
        for group in "cab"
    ]
    plan = schedule(world([node("n", gpu=6)], waiting, groups=groups, clusters=clusters), 0)
    assert admitted(plan) == ["b0", "b1", "a0", "b2", "a1", "b3"]


def test_a_groups_policy_orders_its_own_members_in_their_turns_among_others():
    groups = {
        "lab": GroupModel("lab", policy=Policy(order="fair_share")),
        "lab/x": GroupModel("lab/x", used=100.0),
    }
    waiting = [
        workload("x", place=1, group="lab/x"),
        workload("other", place=2, group="other"),
        workload("y", place=3, group="lab/y"),
    ]
    plan = schedule(world([node("n")], waiting, groups=groups), 0)
    assert admitted(plan) == ["y", "other", "x"]


def test_a_share_is_measured_by_the_groups_own_quota_from_the_top_of_the_tree_down():
    large = Quota(Limit(gpu=10))
    groups = {
        "a": GroupModel("a", quotas={("local", "gpu"): large}),
        "a/x": GroupModel("a/x", used=500.0),
        "a/y": GroupModel("a/y", used=100.0),
        "b": GroupModel("b", used=90.0),
    }
    use = Use(groups, {})
    by_key = sorted(["a", "a/x", "a/y", "b"], key=lambda group: fair_share.key(group, use))
    assert by_key == ["a", "a/y", "a/x", "b"]


def test_what_runs_counts_as_no_less_than_its_first_hour():
    on = node("n", gpu=8)
    placements = running("r", on, Amount(1000, GI, 2), group="a").placements
    attempt = Running("r", "a", placements, time_limit=7200, started=9_400.0)
    assert Use({}, young([attempt], 10_000.0)).seconds("a") == 2 * 3000.0
    assert Use({}, young([attempt], 20_000.0)).seconds("a") == 0.0


def test_orders_are_the_modules_of_the_folder():
    assert set(orders()) == {"fair_share", "fifo"}
    with pytest.raises(ValueError, match="There is no order 'random'; there is fair_share, fifo"):
        order_named("random")


def members(domains, groups, order):
    names = [f"g{i}" for i in range(max(groups) + 1)]
    return Members(np.array(domains), np.array(groups), order, names)


def test_rows_come_by_rank_and_those_left_out_do_not_come():
    of = members([0, 1, 0, 1, 0], [0] * 5, [fifo.key, fifo.key])
    sequence = Sequence(np.arange(5), of, Use({}, {}))
    assert sequence.next() == 0
    sequence.narrow(np.array([True, False, True, True, False]))
    assert [sequence.next() for _ in range(3)] == [2, 3, None]


def test_a_domain_takes_its_turns_where_its_members_would_come_and_decides_whom_it_sends():
    use = Use({"g0": GroupModel("g0", used=1.0)}, {})
    of = members([0, 1, 1, 0, 1], [2, 0, 0, 2, 1], [fifo.key, fair_share.key])
    sequence = Sequence(np.arange(5), of, use)
    assert [sequence.next() for _ in range(6)] == [0, 4, 1, 3, 2, None]
    assert arrange(np.arange(5), of, use).tolist() == [0, 4, 1, 3, 2]


@pytest.mark.parametrize(
    ("left", "then"),
    [([True, False, True], [0, 2]), ([False, True, True], [2])],
    ids=["who took another's turn is left out", "who lost its turn is left out"],
)
def test_there_is_a_turn_for_each_who_is_left_and_no_other(left, then):
    use = Use({"g0": GroupModel("g0", used=1.0)}, {})
    sequence = Sequence(np.arange(3), members([1, 1, 0], [0, 1, 2], [fifo.key, fair_share.key]), use)
    assert sequence.next() == 1
    sequence.narrow(np.array(left))
    assert [sequence.next() for _ in range(len(then) + 1)] == [*then, None]

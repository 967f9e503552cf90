"""The oracle and the checks, held to worlds whose answer is plain; no scheduler is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from footplate_hub.queue.model import (
    Admission,
    Amount,
    Blocked,
    ClusterModel,
    GroupModel,
    Limit,
    NodeModel,
    PersonLimit,
    Placement,
    Plan,
    Policy,
    Preemption,
    Quota,
    Reservation,
    RoleShape,
    Running,
    Shape,
    Snapshot,
    Workload,
)
from footplate_spec.reasons import Reason, ReasonCode
from proofs.queue.check import violations
from proofs.queue.oracle import Moment, dominant_cause, uses_of

NOW = 1000.0
GPU = ("east", "gpu")


def node(name: str, gpu: int, **extra: Any) -> NodeModel:
    return NodeModel("east", name, "gpu", Amount(gpu=gpu), **extra)


def on(name: str, gpu: int, index: int = 0) -> Placement:
    return Placement("worker", index, "east", name, "gpu", Amount(gpu=gpu))


def runs(name: str, *placements: Placement, **extra: Any) -> Running:
    return Running(name, extra.pop("group", "a"), placements, **extra)


def waits(name: str, replicas: int, gpu: int, **extra: Any) -> Workload:
    shape = Shape((RoleShape("worker", replicas, Amount(gpu=gpu), most=extra.pop("most", None)),))
    shape = replace(shape, **{key: extra.pop(key) for key in list(extra) if hasattr(shape, key)})
    return Workload(
        name, extra.pop("group", "a"), extra.pop("priority", 0), extra.pop("place", 0.0), shape, **extra
    )


def group(name: str, gpu: int | None = None, **extra: Any) -> GroupModel:
    bounds = {key: Limit(gpu=extra.pop(key, None)) for key in ("borrowing", "lending")}
    return GroupModel(
        name, {GPU: Quota(nominal=Limit(gpu=gpu), **bounds)} if gpu is not None else {}, **extra
    )


def world(nodes: list[NodeModel], waiting: list[Workload], *running: Running, **extra: Any) -> Snapshot:
    groups = {g.name: g for g in extra.pop("groups", ())}
    clusters = {c.name: c for c in extra.pop("clusters", ())}
    return Snapshot(tuple(nodes), Snapshot.lines_of(waiting), running, groups, clusters)


def because(code: str) -> Reason:
    return Reason(code=ReasonCode(code), message="It is so.")


CAUSES = {
    "no node is large enough": ("NoMatchingFlavor", world([node("n0", 4)], [waits("w", 1, 8)])),
    "no cluster of that name": (
        "NoMatchingFlavor",
        world([node("n0", 4)], [waits("w", 1, 1, clusters=("x",))]),
    ),
    "two halves are no whole": (
        "NoMatchingFlavor",
        world([node("n0", 4), node("n1", 4)], [waits("w", 2, 4, topology="node")]),
    ),
    "more than the group can ever have": (
        "ExceedsMaxQuota",
        world([node("n0", 8)], [waits("w", 1, 8)], groups=[group("a", 4)]),
    ),
    "more than it may borrow, ever": (
        "ExceedsMaxQuota",
        world([node("n0", 8)], [waits("w", 1, 8)], groups=[group("a", 4, borrowing=1), group("b", 4)]),
    ),
    "more than it may borrow, now": (
        "BorrowingLimitReached",
        world(
            [node("n0", 8)],
            [waits("w", 1, 2)],
            runs("r", on("n0", 4)),
            groups=[group("a", 4, borrowing=1), group("b", 4)],
        ),
    ),
    "what its sister does not lend": (
        "ExceedsMaxQuota",
        world([node("n0", 8)], [waits("w", 1, 5)], groups=[group("a", 4), group("b", 4, lending=0)]),
    ),
    "its nodes are excluded": (
        "NodesExcluded",
        world([node("n0", 4), node("n1", 2)], [waits("w", 1, 4, exclude_nodes=frozenset({"east/n0"}))]),
    ),
    "its label is nowhere": (
        "NodesExcluded",
        world([node("n0", 4)], [waits("w", 1, 4, labels=(("disk", "ssd"),))]),
    ),
    "its node is down": ("NodeLost", world([node("n0", 4, unusable="not ready")], [waits("w", 1, 4)])),
    "one person has enough": (
        "LimitReached",
        world(
            [node("n0", 4)],
            [waits("w", 1, 1, owner="ann", group="a/x")],
            runs("r", on("n0", 1), owner="ann"),
            groups=[group("a", person=PersonLimit(running=1))],
        ),
    ),
    "others use the quota": (
        "WaitingForQuota",
        world(
            [node("n0", 8)],
            [waits("w", 1, 2)],
            runs("r", on("n0", 4), group="b"),
            groups=[group("a", 2), group("b", 2)],
        ),
    ),
    "others use the node": (
        "WaitingForCapacity",
        world([node("n0", 4)], [waits("w", 1, 2)], runs("r", on("n0", 3))),
    ),
    "what is free lies apart": (
        "TopologyPlacementFailed",
        world([node("n0", 4), node("n1", 4)], [waits("w", 1, 4)], runs("r", on("n0", 2), on("n1", 2))),
    ),
    "what is free lies in two racks": (
        "TopologyPlacementFailed",
        world(
            [node(f"n{i}", 4, levels=(f"r{i % 2}",)) for i in range(4)],
            [waits("w", 2, 4, topology="rack")],
            runs("r", on("n0", 1), on("n1", 1)),
        ),
    ),
    "nothing but those ahead": ("ReservedForAhead", world([node("n0", 4)], [waits("w", 1, 4)])),
    "the cluster is held": (
        "DiskLow",
        world([node("n0", 4)], [waits("w", 1, 4)], clusters=[ClusterModel("east", held=because("DiskLow"))]),
    ),
    "it is suspended": (
        "Suspended",
        world([node("n0", 4)], [waits("w", 1, 4, waits=because("Suspended"))]),
    ),
    "the more fundamental of two": (
        "WaitingForQuota",
        world([node("n0", 4)], [waits("w", 1, 4)], runs("r", on("n0", 4)), groups=[group("a", 4)]),
    ),
    "the way that is closer to starting": (
        "WaitingForCapacity",
        world(
            [node("n0", 4, unusable="blocked"), NodeModel("east", "n1", "old", Amount(gpu=4))],
            [waits("w", 1, 4)],
            Running("r", "a", (Placement("worker", 0, "east", "n1", "old", Amount(gpu=1)),)),
        ),
    ),
}


@pytest.mark.parametrize(("code", "snapshot"), CAUSES.values(), ids=CAUSES)
def test_the_oracle_names_the_cause(code, snapshot):
    [line] = snapshot.lines

    assert dominant_cause(snapshot, line.workloads[0], Moment(uses_of(snapshot))) == code


def admit(workload: Workload, *placements: Placement) -> Admission:
    return Admission(workload, "east", placements)


def blocked(workload: Workload, code: str = "WaitingForCapacity") -> Blocked:
    return Blocked.because((workload,), because(code))


ONE, PAIR = waits("w", 1, 2, time_limit=60), waits("w", 2, 2, time_limit=60)
LARGE, SMALL = waits("large", 1, 4, time_limit=60), waits("small", 1, 1, time_limit=60, place=1.0)
TWO = [node("n0", 2), node("n1", 2)]
URGENT = waits("w", 1, 2, priority=1)
TOGETHER = waits("w", 2, 2, topology="rack")

WRONG = {
    "nobody decides": ("decided 0 times", world(TWO, [ONE]), Plan()),
    "it is decided twice": (
        "decided 2 times",
        world(TWO, [ONE]),
        Plan(admit=(admit(ONE, on("n0", 2)),), blocked=(blocked(ONE),)),
    ),
    "half a gang": ("of role worker", world(TWO, [PAIR]), Plan(admit=(admit(PAIR, on("n0", 2)),))),
    "two on one GPU": (
        "is given 4",
        world(TWO, [PAIR]),
        Plan(admit=(admit(PAIR, on("n0", 2), on("n0", 2, 1)),)),
    ),
    "on a blocked node": (
        "may not use",
        world([node("n0", 2, unusable="blocked")], [ONE]),
        Plan(admit=(admit(ONE, on("n0", 2)),)),
    ),
    "over two racks": (
        "asks topology rack",
        world(
            [node("n0", 2, levels=("r0",)), node("n1", 2, levels=("r1",))],
            [TOGETHER],
        ),
        Plan(admit=(admit(TOGETHER, on("n0", 2), on("n1", 2, 1)),)),
    ),
    "beyond its quota": (
        "breaks the quota",
        world(TWO, [ONE], groups=[group("a", 1)]),
        Plan(admit=(admit(ONE, on("n0", 2)),)),
    ),
    "more than one person may have": (
        "may have",
        world(TWO, [ONE], groups=[group("a", person=PersonLimit(gpus=1))]),
        Plan(admit=(admit(ONE, on("n0", 2)),)),
    ),
    "in a held group": (
        "starts although",
        world(TWO, [ONE], groups=[group("a", held=because("DiskLow"))]),
        Plan(admit=(admit(ONE, on("n0", 2)),)),
    ),
    "it could start": ("could start on", world(TWO, [ONE]), Plan(blocked=(blocked(ONE),))),
    "the reservation is passed": (
        "is delayed",
        world(
            [node("n0", 4)], [LARGE, replace(SMALL, time_limit=500)], runs("r", on("n0", 3), ends=NOW + 100)
        ),
        Plan(
            admit=(admit(replace(SMALL, time_limit=500), on("n0", 1)),),
            reserve=(Reservation("large", NOW + 100, "east", (on("n0", 4),)),),
            blocked=(blocked(LARGE),),
        ),
    ),
    "the first is promised nothing": (
        "is promised inf",
        world([node("n0", 4)], [LARGE], runs("r", on("n0", 3), ends=NOW + 100)),
        Plan(blocked=(blocked(LARGE),)),
    ),
    "the first is promised too late a time": (
        "is promised 1200",
        world([node("n0", 4)], [LARGE], runs("r", on("n0", 3), ends=NOW + 100)),
        Plan(
            reserve=(Reservation("large", NOW + 200, "east", (on("n0", 4),)),),
            blocked=(blocked(LARGE),),
        ),
    ),
    "backfill is forgotten": (
        "could start on",
        world([node("n0", 4)], [LARGE, SMALL], runs("r", on("n0", 3), ends=NOW + 100)),
        Plan(
            reserve=(Reservation("large", NOW + 100, "east", (on("n0", 4),)),),
            blocked=(blocked(LARGE), blocked(SMALL, "ReservedForAhead")),
        ),
    ),
    "one who came later goes first": (
        "starts before w, which is alike",
        world([node("n0", 2)], [ONE, replace(ONE, id="v", place=1.0)]),
        Plan(admit=(admit(replace(ONE, id="v", place=1.0), on("n0", 2)),), blocked=(blocked(ONE),)),
    ),
    "stopped by an equal": (
        "without a higher priority",
        world([node("n0", 2)], [ONE], runs("r", on("n0", 2))),
        Plan(preempt=(Preemption("r", "w", "priority"),), blocked=(blocked(ONE),)),
    ),
    "stopped in vain": (
        "does not start when",
        world(
            [node("n0", 2)],
            [URGENT],
            runs("r", on("n0", 1)),
            runs("s", on("n0", 1), preemptible=False),
        ),
        Plan(preempt=(Preemption("r", "w", "priority"),), blocked=(blocked(URGENT),)),
    ),
    "one too many stopped": (
        "would do",
        world(TWO, [URGENT], runs("r", on("n0", 2)), runs("s", on("n1", 2))),
        Plan(
            preempt=(Preemption("r", "w", "priority"), Preemption("s", "w", "priority")),
            blocked=(blocked(URGENT),),
        ),
    ),
    "nothing was borrowed": (
        "without having borrowed",
        world(
            [node("n0", 2)], [ONE], runs("r", on("n0", 2), group="b"), groups=[group("a", 2), group("b", 2)]
        ),
        Plan(preempt=(Preemption("r", "w", "reclaim"),), blocked=(blocked(ONE),)),
    ),
}


@pytest.mark.parametrize(("sentence", "snapshot", "plan"), WRONG.values(), ids=WRONG)
def test_the_checks_find_what_is_wrong(sentence, snapshot, plan):
    found = violations(snapshot, NOW, plan)

    assert any(sentence in one for one in found), found


def test_the_checks_find_nothing_in_a_good_plan():
    snapshot = world([node("n0", 4)], [LARGE, SMALL], runs("r", on("n0", 3), ends=NOW + 100))
    plan = Plan(
        admit=(admit(SMALL, on("n0", 1)),),
        reserve=(Reservation("large", NOW + 100, "east", (on("n0", 4),)),),
        blocked=(blocked(LARGE),),
    )

    assert violations(snapshot, NOW, plan) == []


def test_where_nobody_may_pass_the_room_is_left():
    snapshot = world(
        [node("n0", 4)],
        [LARGE, SMALL],
        runs("r", on("n0", 3)),
        groups=[group("a", policy=Policy(backfill=False))],
    )
    plan = Plan(blocked=(blocked(LARGE), blocked(SMALL, "ReservedForAhead")))

    assert violations(snapshot, NOW, plan) == []

"""All causes that a reason tells: to lift them is enough, and none of them is needless."""

from __future__ import annotations

from footplate_hub.queue.model import Amount, GroupModel, Limit, Quota
from footplate_hub.queue.schedule import schedule
from footplate_spec.reasons import ReasonCode as Code
from support.worlds import GI, node, role, running, workload, world


def codes(plan, name: str) -> set[Code]:
    reason = plan.reasons[name]
    return {cause.code for cause in (reason, *reason.causes)}


def research(**quotas: Limit) -> dict[str, GroupModel]:
    by_place = {("local", flavor): Quota(nominal) for flavor, nominal in quotas.items()}
    return {"research": GroupModel("research", by_place)}


def test_a_way_with_two_quotas_to_raise_is_closer_than_one_that_is_full_as_well():
    new, old = node("n", gpu=4, flavor="new"), node("o", gpu=4, flavor="old")
    busy = (running("r", old, Amount(1000, GI, 4), group="other"),)
    groups = research(old=Limit(gpu=1), new=Limit(gpu=1, cpu=500))
    asked = workload("w", role(gpu=2, flavors=["old", "new"]))
    plan = schedule(world([new, old], [asked], running=busy, groups=groups), 0)
    assert codes(plan, "w") == {Code.EXCEEDS_MAX_QUOTA}
    assert {cause.numbers["flavor"] for cause in plan.reasons["w"].causes} == {"new"}


def test_what_must_be_larger_anyway_is_not_also_waited_for():
    on = node("n", gpu=4)
    busy = (running("r", on, Amount(1000, GI, 0)),)
    groups = research(gpu=Limit(gpu=1, cpu=1000))
    plan = schedule(world([on], [workload("w", role(gpu=2))], running=busy, groups=groups), 0)
    assert codes(plan, "w") == {Code.EXCEEDS_MAX_QUOTA}
    plan = schedule(world([on], [workload("w", role(gpu=1))], running=busy, groups=groups), 0)
    assert codes(plan, "w") == {Code.WAITING_FOR_QUOTA}

"""Groups and clusters that are held: nothing starts, what runs goes on, and everybody is told why."""

from __future__ import annotations

import pytest

from footplate_hub.control import Refused
from footplate_spec import ReasonCode
from support.control import eventually


async def held(rig, job):
    return await eventually(lambda: (r := rig.control.reason(job)) and r.code == ReasonCode.HELD and r)


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("cluster", "local", "Nothing on cluster local starts for now: the cooling is repaired."),
        ("group", "research", "Nothing of group research starts for now: the cooling is repaired."),
    ],
)
async def test_what_is_held_waits_with_the_operators_words_and_what_runs_goes_on(any_rig, kind, name, said):
    keep = any_rig.control.maintenance
    running = await any_rig.submit(group="research/vision")
    await any_rig.until(running, "starting")
    await keep.hold(kind, name, "the cooling is repaired", "root")
    waiting = await any_rig.submit(group="research/vision")
    reason = await held(any_rig, waiting)
    assert (reason.message, reason.numbers["by"]) == (said, "root")
    assert (await any_rig.job(running)).state == "starting"
    assert {use.held for use in any_rig.control.quota_use(["research/vision"])} == {said}
    await any_rig.restart()
    await held(any_rig, waiting)
    [hold] = await any_rig.control.maintenance.holds()
    assert (hold.kind, hold.name, hold.by) == (kind, name, "root")
    await any_rig.control.maintenance.release(kind, name, "root")
    await any_rig.until(waiting, "starting")
    happened = [(event.kind, event.actor) for event in any_rig.events if event.subject == name]
    assert happened == [(f"{kind}.held", "root"), (f"{kind}.released", "root")]
    with pytest.raises(Refused, match="is not held"):
        await any_rig.control.maintenance.release(kind, name, "root")


async def test_a_hold_of_one_group_is_nothing_to_another(one):
    await one.control.maintenance.hold("group", "research", "audit", "root")
    other = await one.submit(group="sales")
    await one.until(other, "starting")

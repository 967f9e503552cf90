"""Attempts that make room: told to save and to end, back in their old place, and nobody takes that room."""

from __future__ import annotations

import time
from pathlib import Path

from footplate_spec import Group, Quota, ReasonCode
from support.control import eventually, machine, rig

WHOLE = [{"resources": {"cpu": 4}}]


async def runs(rig, **fields):
    job = await rig.submit(roles=WHOLE, **fields)
    await rig.until(job, "starting")
    await rig.say(f"{job}-a1", "running")
    return job


async def test_a_more_urgent_job_of_the_group_stops_a_less_urgent_one_which_keeps_its_place(any_rig):
    low = await runs(any_rig, priority="low", recovery={"checkpoint_grace": 7})
    high = await any_rig.submit(roles=WHOLE, priority="high")
    await eventually(lambda: "job.preempted" in any_rig.kinds(low))
    told = await any_rig.wants(f"{low}-a1")
    assert (told.stop.reason, told.stop.grace) == ("preempted", 7)
    reason = await eventually(
        lambda: (
            (r := any_rig.control.reason(high)) and r.code == ReasonCode.WAITING_FOR_PREEMPTED_WORKLOADS and r
        )
    )
    assert reason.numbers == {"stopping": 1}
    before = await any_rig.job(low)
    await any_rig.say(f"{low}-a1", "exited", signal=15, stopped="preempted")
    await any_rig.until(high, "starting")
    after = await any_rig.job(low)
    assert (after.state, after.place, after.restarts, after.owed) == ("queued", before.place, 0, False)
    assert not (await any_rig.job(high)).owed
    [(attempt, _)] = await any_rig.attempts(low)
    assert attempt.outcome == "preempted"
    [event] = [e for e in any_rig.events if e.kind == "job.preempted"]
    assert (event.subject, event.data, high in event.model_dump_json()) == (low, {"why": "priority"}, False)
    await any_rig.say(f"{high}-a1", "exited", exit_code=0)
    await eventually(lambda: any(applied.id == f"{low}-a2" for applied in any_rig.engine.applied))


async def test_the_room_is_kept_through_a_restart_of_the_service(any_rig):
    low = await runs(any_rig, priority="low")
    high = await any_rig.submit(roles=WHOLE, priority="normal")
    await eventually(lambda: "job.preempted" in any_rig.kinds(low))
    await any_rig.restart()
    more = await any_rig.submit(roles=WHOLE, priority="high", group="sales")
    assert (await any_rig.job(high)).owed
    assert (await any_rig.wants(f"{low}-a1")).stop.reason == "preempted"
    await any_rig.say(f"{low}-a1", "exited", signal=15, stopped="preempted")
    await any_rig.until(high, "starting")
    assert (await any_rig.job(more)).state == "queued"


async def test_what_may_never_run_again_is_not_stopped_for_others(one):
    once = await runs(one, priority="low", recovery={"max_restarts": 0})
    high = await one.submit(roles=WHOLE, priority="high")
    await eventually(lambda: (r := one.control.reason(high)) and r.code == ReasonCode.WAITING_FOR_CAPACITY)
    assert (await one.wants(f"{once}-a1")).stop is None


async def test_one_that_is_done_before_it_could_be_stopped_has_succeeded(one):
    low = await runs(one, priority="low")
    high = await one.submit(roles=WHOLE, priority="high")
    await eventually(lambda: "job.preempted" in one.kinds(low))
    await one.say(f"{low}-a1", "exited", exit_code=0)
    assert (await one.job(low)).state == "succeeded"
    await one.until(high, "starting")


async def test_when_an_attempt_last_saved_is_known_to_the_queue(one):
    halves = [await one.submit(roles=[{"resources": {"cpu": 2}}], priority="low") for _ in range(2)]
    for job in halves:
        await one.until(job, "starting")
    older, younger = halves
    await one.say(f"{younger}-a1", "running")
    await one.say(f"{older}-a1", "running", usage={"saved": time.time()})
    assert one.control._board.running[f"{older}-a1"].saved is not None
    assert one.control._board.running[f"{younger}-a1"].saved is None
    await one.say(f"{younger}-a1", "running", usage={"saved": 1.0})
    assert one.control._board.running[f"{younger}-a1"].saved is None  # of an attempt before


async def test_who_goes_aside_leaves_the_room_to_others(one):
    low = await runs(one, priority="low")
    high = await one.submit(roles=WHOLE, priority="high")
    await eventually(lambda: "job.preempted" in one.kinds(low))
    await one.control.suspend(high, "ada")
    assert not (await one.job(high)).owed
    await one.say(f"{low}-a1", "exited", signal=15, stopped="preempted")
    await eventually(lambda: any(applied.id == f"{low}-a2" for applied in one.engine.applied))


async def test_what_is_borrowed_is_given_back_whatever_the_priority_and_the_newest_goes_first(tmp_path: Path):
    groups = [Group(name=name, quotas=[Quota(flavor="gpu", gpu=2)]) for name in ("owner", "borrower")]
    needs = {"roles": [{"resources": {"gpu": 1, "cpu": 1}}]}
    async with rig(tmp_path / "data", machine("n1", 8000, 4), groups=groups) as running:
        lent = []
        for _ in range(4):
            job = await running.submit(group="borrower", priority="high", **needs)
            await running.until(job, "starting")
            await running.say(f"{job}-a1", "running")
            lent.append(job)
        mine = await running.submit(group="owner", priority="low", **needs)
        await eventually(lambda: "job.preempted" in running.kinds(lent[-1]))
        await running.say(f"{lent[-1]}-a1", "exited", signal=15, stopped="preempted")
        await running.until(mine, "starting")
        [event] = [event for event in running.events if event.kind == "job.preempted"]
        assert (event.subject, event.data) == (lent[-1], {"why": "reclaim"})
        reason = await eventually(
            lambda: (r := running.control.reason(lent[-1])) and r.code != ReasonCode.PENDING_EVALUATION and r
        )
        assert reason.code == ReasonCode.WAITING_FOR_QUOTA
        assert (await running.job(lent[-1])).state == "queued"

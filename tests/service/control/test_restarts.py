"""The service may be killed between any two lines: the next one goes on from what is stored."""

from __future__ import annotations

import asyncio

from footplate_hub.engines import EngineError
from footplate_hub.store import attempts as stored
from footplate_spec import Cause, CauseCode
from support.control import eventually


async def test_what_was_admitted_but_not_applied_is_applied(one):
    one.engine.refuse = EngineError("not yet")
    job = await one.submit()
    await one.until(job, "starting")
    one.engine.refuse = None
    await one.restart()
    await eventually(lambda: any(attempt.id == f"{job}-a1" for attempt in one.engine.applied))


async def test_a_cluster_that_is_away_is_asked_until_it_takes_the_job(one):
    one.engine.refuse = EngineError("Cluster east does not answer.", waits=True)
    job = await one.submit()

    await eventually(lambda: f"{job}-a1" in one.control._board.attempts)
    live = one.control._board.attempts[f"{job}-a1"]
    said = "Cluster east does not answer."
    await eventually(lambda: [row.message for row in live.life.replicas.values()] == [said])
    await one.restart()  # away when the service starts, too
    await eventually(lambda: one.control._reconciler.waiting == {f"{job}-a1"})
    one.engine.refuse = None
    await eventually(lambda: [a.id for a in one.engine.applied] == [f"{job}-a1"])
    assert one.engine.deleted == []


async def test_an_attempt_that_was_given_up_is_removed_once_its_cluster_answers(one):
    job = await one.submit()
    await one.until(job, "starting")
    await eventually(lambda: one.engine.applied)
    one.engine.refuse_delete = EngineError("Cluster east does not answer.")
    live = one.control._board.attempts[f"{job}-a1"]
    cause = Cause(code=CauseCode.PLATFORM_FAULT, message="It never spoke.")
    for _ in range(2):  # the watchdog looks every second
        one.control._reconciler.give_up(live, cause, again=True)
    await asyncio.sleep(0.05)
    assert (await one.job(job)).restarts == 0  # nobody knows yet whether it lives
    one.engine.refuse_delete = None
    await eventually(lambda: one.engine.applied[-1].replicas[0].execution == 2)
    assert (await one.job(job)).restarts == 1
    assert one.engine.deleted == [f"{job}-a1"]


async def test_what_was_submitted_and_never_told_of_is_found(one):
    blocker = await one.submit(roles=[{"resources": {"cpu": 4}}])
    await one.until(blocker, "starting")
    job = await one.submit()
    await one.restart()
    await eventually(lambda: one.control.position(job))
    await one.say(f"{blocker}-a1", "exited", exit_code=0)
    await one.until(job, "starting")
    assert (await one.job(blocker)).state == "succeeded"


async def test_a_gang_that_has_met_gets_the_same_rendezvous_from_the_next_service(one):
    job = await one.submit(roles=[{"replicas": 2}])
    await one.until(job, "starting")
    for number, key in enumerate(("worker-0", "worker-1")):
        await one.say(f"{job}-a1", "ready", key, address="127.0.0.1", port=4000 + number)
    before = await one.wants(f"{job}-a1", "worker-1")
    await one.restart()
    assert await one.wants(f"{job}-a1", "worker-1") == before
    assert before.env is not None


async def test_a_half_stopped_gang_goes_on_to_its_next_execution(one):
    job = await one.submit(roles=[{"replicas": 2}])
    await one.until(job, "starting")
    for key in ("worker-0", "worker-1"):
        await one.say(f"{job}-a1", "running", key)
    await one.say(f"{job}-a1", "exited", "worker-0", lost=True)
    await one.restart()
    assert (await one.wants(f"{job}-a1", "worker-1")).stop.reason == "gang"
    await one.say(f"{job}-a1", "exited", "worker-1", signal=15, stopped="gang")
    assert (await one.wants(f"{job}-a1", "worker-0")).execution == 2
    assert (await one.job(job)).restarts == 1


async def test_an_attempt_that_ended_is_removed_by_the_next_service(one):
    job = await one.submit()
    await one.until(job, "starting")
    one.control._reconciler.remove = lambda *_: None  # killed before it got there
    await one.say(f"{job}-a1", "exited", exit_code=0)
    await one.restart()

    async def removed():
        async with one.database.read() as connection:
            return not await stored.unremoved(connection)

    await eventually(removed)


async def test_a_dead_keeper_is_started_again_and_one_that_never_lives_fails_the_job(one):
    job = await one.submit(recovery={"max_restarts": 0})
    attempt = f"{job}-a1"
    await eventually(lambda: one.engine.keepers.get(attempt))
    await one.say(attempt, "running")
    one.engine.die(attempt, "worker-0")
    await eventually(lambda: one.engine.keepers.get(attempt))
    assert (await one.job(job)).state == "running"

    async def failed():
        if one.engine.keepers.get(attempt):
            one.engine.die(attempt, "worker-0")
        return (await one.job(job)).state == "failed"

    await eventually(failed)
    record = await one.job(job)
    assert (record.cause.code, "keeper ended 6 times" in record.cause.message) == ("PlatformFault", True)


async def test_blocks_hold_after_a_restart(one):
    await one.control.maintenance.block_node("local", "n1", "dust", "root")
    await one.restart()
    assert [node.blocked for node in one.control.nodes()] == ["dust"]


async def test_a_thousand_jobs_are_admitted_in_order_and_all_end(one):
    ids = await one.submit_many(300)
    done: set[str] = set()
    while len(done) < len(ids):
        await eventually(lambda: {a.job for a in one.engine.applied} - done)
        for attempt in list(one.engine.applied):
            if attempt.job not in done:
                await one.say(attempt.id, "exited", exit_code=0)
                done.add(attempt.job)
    assert [attempt.job for attempt in one.engine.applied] == ids
    for job in (ids[0], ids[-1]):
        assert (await one.job(job)).state == "succeeded"

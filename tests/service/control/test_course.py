"""A job's way from the queue to its result, as the store, the engine and the agents see it."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from footplate_hub.control import Refused
from footplate_hub.engines import EngineError
from footplate_hub.store import attempts as stored
from footplate_hub.store import jobs
from footplate_hub.tokens import ReplicaId
from footplate_spec import CauseCode, JobResult, ReasonCode
from support.control import eventually


async def test_a_job_is_admitted_runs_and_ends_with_one_result(any_rig):
    job = await any_rig.submit(time_limit=60)
    attempt = f"{job}-a1"
    await any_rig.until(job, "starting")
    await eventually(lambda: any_rig.engine.applied)
    first = await any_rig.say(attempt, "preparing")
    assert (first.execution, first.env, first.time_limit, first.stop) == (1, {}, 60, None)
    await any_rig.say(attempt, "running", started=time.time())
    assert (await any_rig.job(job)).state == "running"
    last = await any_rig.say(attempt, "exited", exit_code=0, log_size=5)
    assert last.release
    record = await any_rig.job(job)
    assert (record.state, record.cause, record.attempt) == ("succeeded", None, 1)
    row = await any_rig.row(job)
    assert JobResult.model_validate_json(row["result"]) == JobResult(attempt=1, execution=1)
    assert any_rig.kinds(job) == [
        "job.submitted", "job.admitted", "replica.started", "job.started", "replica.ended", "job.succeeded",
    ]  # fmt: skip
    [(held, [replica])] = await any_rig.attempts(job)
    assert (held.outcome, replica.state, replica.exit_code, replica.log_size) == (
        "succeeded",
        "succeeded",
        0,
        5,
    )


async def test_what_is_over_is_removed_from_the_engine_and_the_removal_is_recorded(one):
    job = await one.submit()
    await eventually(lambda: one.engine.applied)
    await one.say(f"{job}-a1", "exited", exit_code=0)

    async def removed():
        async with one.database.read() as connection:
            return not await stored.unremoved(connection)

    await eventually(removed)
    assert one.engine.deleted == [f"{job}-a1"]
    assert await one.control.identify(ReplicaId(f"{job}-a1", "worker", 0)) is None


async def test_a_token_is_good_while_its_attempt_is_on_and_for_its_own_replica_only(one):
    job = await one.submit(roles=[{"replicas": 2}])
    await one.until(job, "starting")
    # The store knows an attempt a moment before the loops do, and its agents start after both.
    known = await eventually(lambda: one.control.identify(ReplicaId(f"{job}-a1", "worker", 1)))
    assert (known.job, known.owner, known.group, known.attempt_number) == (job, "ada", "research", 1)
    assert await one.control.identify(ReplicaId(f"{job}-a1", "worker", 2)) is None
    assert await one.control.identify(ReplicaId(f"{job}-a2", "worker", 0)) is None
    assert await one.control.identify(ReplicaId("other-a1", "worker", 0)) is None


async def test_the_programs_own_error_fails_the_job_with_its_first_cause(one):
    job = await one.submit()
    await one.until(job, "starting")
    await one.say(f"{job}-a1", "exited", exit_code=3, error="ValueError: no", traceback="Traceback …")
    record = await one.job(job)
    assert record.state == "failed"
    assert (record.cause.code, record.cause.exit_code, record.cause.role) == ("UserError", 3, "worker")
    assert record.cause.message == "The program ended with exit code 3."
    assert JobResult.model_validate_json((await one.row(job))["result"]).error == "ValueError: no"


async def test_the_time_limit_fails_the_job_even_if_the_program_then_ended_well(one):
    job = await one.submit(roles=[{"on_failure": "restart_gang"}])
    await one.until(job, "starting")
    await one.say(f"{job}-a1", "exited", exit_code=0, stopped="time_limit")
    record = await one.job(job)
    assert (record.state, record.cause.code) == ("failed", "TimeLimit")


async def test_reports_may_be_repeated_and_may_come_late(one):
    job = await one.submit()
    await one.until(job, "starting")
    for state in ("running", "running", "preparing", "running"):
        await one.say(f"{job}-a1", state)
    assert one.kinds(job).count("replica.started") == 1
    await one.say(f"{job}-a1", "exited", execution=2, exit_code=1)
    assert (await one.job(job)).state == "running"
    for _ in range(2):
        assert (await one.say(f"{job}-a1", "exited", exit_code=0)).release
    assert one.kinds(job).count("job.succeeded") == 1


async def test_those_who_wait_know_their_reason_and_place_and_start_when_there_is_room(one):
    first = await one.submit(roles=[{"resources": {"cpu": 4}}])
    await one.until(first, "starting")
    second, third = await one.submit(), await one.submit(priority="high")
    reason = await eventually(
        lambda: (r := one.control.reason(second)) and r.code != ReasonCode.PENDING_EVALUATION and r
    )
    assert reason.code == ReasonCode.WAITING_FOR_CAPACITY
    await eventually(lambda: one.control.position(third) == (1, []))
    assert one.control.position(second) == (2, [third])
    await eventually(lambda: "job.explained" in one.kinds(second))
    assert one.control.position(first) is None
    assert one.control.reason(first) is None
    await one.say(f"{first}-a1", "exited", exit_code=0)
    await one.until(second, "starting")
    await one.until(third, "starting")


async def test_a_waiting_job_that_was_edited_is_admitted_as_edited(one):
    blocker = await one.submit(roles=[{"resources": {"cpu": 4}}])
    await one.until(blocker, "starting")
    job = await one.submit()
    await eventually(lambda: one.control.position(job))
    row = await one.row(job)
    spec = one.control._board.jobs[job].spec.model_copy(update={"command": ["false"]})
    assert await one.database.write(
        lambda t: jobs.edit(t, row, spec, time_limit=7, actor="ada", changed=["command"])
    )
    # Nobody has told the loops when the place becomes free: they must notice by themselves.
    await one.say(f"{blocker}-a1", "exited", exit_code=0)
    await one.until(job, "starting")
    attempt = await eventually(lambda: [a for a in one.engine.applied if a.job == job])
    assert (attempt[0].spec.command, attempt[0].time_limit) == (["false"], 7)


async def test_cancelling_a_waiting_job_ends_it_at_once(one):
    blocker = await one.submit(roles=[{"resources": {"cpu": 4}}])
    await one.until(blocker, "starting")
    job = await one.submit()
    await one.control.cancel(job, "ada")
    assert (await one.job(job)).state == "cancelled"
    assert one.control.position(job) is None
    with pytest.raises(Refused, match="has ended"):
        await one.control.cancel(job, "ada")


async def test_cancelling_a_running_job_stops_it_with_its_grace_and_waits_for_its_end(one):
    job = await one.submit(recovery={"checkpoint_grace": 7})
    await one.until(job, "starting")
    running = await one.say(f"{job}-a1", "running")
    waiting = asyncio.create_task(one.wants(f"{job}-a1", tag=running.tag, wait=20))
    await one.control.cancel(job, "ada")
    told = await asyncio.wait_for(waiting, 5)
    assert (told.stop.reason, told.stop.grace) == ("cancelled", 7)
    record = await one.job(job)
    assert (record.state, record.stopping) == ("running", "cancelled")
    await one.say(f"{job}-a1", "exited", exit_code=0, stopped="cancelled")
    assert (await one.job(job)).state == "cancelled"


async def test_a_job_that_was_done_before_it_could_be_stopped_has_succeeded(one):
    job = await one.submit()
    await one.until(job, "starting")
    await one.control.cancel(job, "ada")
    await one.say(f"{job}-a1", "exited", exit_code=0)
    assert (await one.job(job)).state == "succeeded"


async def test_a_suspended_job_stops_waits_and_goes_on_when_resumed(one):
    job = await one.submit()
    await one.until(job, "starting")
    await one.say(f"{job}-a1", "running")
    await one.control.suspend(job, "ada")
    await one.say(f"{job}-a1", "exited", signal=15, stopped="suspended")
    assert (await one.job(job)).state == "suspended"
    assert one.control.reason(job).code == ReasonCode.SUSPENDED
    with pytest.raises(Refused):
        await one.control.suspend(job, "ada")
    await one.control.resume(job, "ada")
    await eventually(lambda: any(attempt.id == f"{job}-a2" for attempt in one.engine.applied))
    assert (await one.job(job)).attempt == 2
    with pytest.raises(Refused, match="not suspended"):
        await one.control.resume(job, "ada")


async def test_a_running_jobs_limit_can_be_extended_and_its_agent_hears_of_it(one):
    job = await one.submit(time_limit=10)
    await one.until(job, "starting")
    told = await one.say(f"{job}-a1", "running")
    waiting = asyncio.create_task(one.wants(f"{job}-a1", tag=told.tag, wait=20))
    await asyncio.sleep(0)
    await one.control.extend(job, 99, "ada")
    assert (await asyncio.wait_for(waiting, 5)).time_limit == 99
    assert (await one.job(job)).time_limit == 99
    await one.say(f"{job}-a1", "exited", exit_code=0)
    with pytest.raises(Refused):
        await one.control.extend(job, 100, "ada")


async def test_a_service_that_stops_lets_no_agent_wait(one):
    job = await one.submit()
    await one.until(job, "starting")
    told = await one.say(f"{job}-a1", "running")
    waiting = asyncio.create_task(one.wants(f"{job}-a1", tag=told.tag, wait=20))
    await asyncio.sleep(0)
    one.control.hang_up()
    assert (await asyncio.wait_for(waiting, 5)).tag == told.tag
    assert (await asyncio.wait_for(one.wants(f"{job}-a1", tag=told.tag, wait=20), 5)).tag == told.tag


async def test_a_running_jobs_priority_changes_for_the_queue_and_its_next_attempt(any_rig):
    job = await any_rig.submit()
    await any_rig.until(job, "starting")
    await any_rig.control.reprioritise(job, "high", "ada")
    [running] = any_rig.control._board.running.values()
    row = await any_rig.row(job)
    assert (running.priority, row["priority"], json.loads(row["spec"])["priority"]) == (100, "high", "high")
    await any_rig.control.maintenance.block_node("local", "n1", "repair", "root")
    await any_rig.say(f"{job}-a1", "exited", signal=15, stopped="preempted")
    assert any_rig.control._board.jobs[job].workload.priority == 100
    await any_rig.control.maintenance.unblock_node("local", "n1", "root")
    await eventually(lambda: any(attempt.id == f"{job}-a2" for attempt in any_rig.engine.applied))
    await any_rig.control.cancel(job, "ada")
    await any_rig.say(f"{job}-a2", "exited", signal=15, stopped="cancelled")
    with pytest.raises(Refused, match="has ended"):
        await any_rig.control.reprioritise(job, "low", "ada")


async def test_a_suspended_job_that_was_moved_waits_in_its_new_group(one):
    job = await one.submit()
    await one.until(job, "starting")
    await one.control.suspend(job, "ada")
    await one.say(f"{job}-a1", "exited", signal=15, stopped="suspended")
    row = await one.row(job)
    spec = one.control._board.jobs[job].spec.model_copy(update={"group": "sales", "priority": "high"})
    assert await one.database.write(
        lambda t: jobs.edit(t, row, spec, time_limit=7, actor="ada", changed=["group"])
    )
    one.control.wake()
    await eventually(lambda: one.control._board.jobs[job].life.job.group == "sales")
    await one.control.resume(job, "ada")
    await eventually(lambda: any(attempt.group == "sales" for attempt in one.engine.applied))
    assert (await one.job(job)).place == row["place"]


@pytest.mark.parametrize("again", [False, True], ids=["for good", "for now"])
async def test_what_cannot_be_started_fails_with_the_engines_sentence(one, again):
    one.engine.refuse = EngineError("ada has no account on this machine.", again=again)
    job = await one.submit(recovery={"max_restarts": 0})
    record = await one.until(job, "failed")
    assert record.cause.code == CauseCode.PLATFORM_FAULT
    assert record.cause.message.startswith("ada has no account on this machine.")


async def test_a_full_disk_stops_admissions_and_says_so(tmp_path):
    from support.control import rig

    async with rig(tmp_path / "data", limits={"disk_free": 2**60}) as full:
        job = await full.submit()
        await eventually(lambda: (r := full.control.reason(job)) and r.code == ReasonCode.DISK_LOW)
        assert "disk" in full.control.reason(job).message

"""Jobs that wait for how others end: they start, or end, when that is known, whoever dies in between."""

from __future__ import annotations

import pytest

from footplate_hub.store import jobs
from footplate_spec import CauseCode, ReasonCode
from support.control import eventually


async def reason(rig, job):
    return await eventually(
        lambda: (r := rig.control.reason(job)) and r.code != ReasonCode.PENDING_EVALUATION and r
    )


async def test_a_job_starts_once_the_other_has_succeeded(any_rig):
    first = await any_rig.submit()
    second = await any_rig.submit(after=[{"job": first}])
    await any_rig.until(first, "starting")
    told = await reason(any_rig, second)
    assert (told.code, told.message) == (ReasonCode.WAITING_FOR_JOBS, "It waits for another job to succeed.")
    assert any_rig.control.position(second) is None
    await eventually(lambda: "job.explained" in any_rig.kinds(second))
    await any_rig.say(f"{first}-a1", "exited", exit_code=0)
    await any_rig.until(second, "starting")


@pytest.mark.parametrize(
    ("outcome", "state"), [("succeeded", "cancelled"), ("failed", "starting"), ("finished", "starting")]
)
async def test_a_failure_ends_those_who_need_success_and_starts_the_others(one, outcome, state):
    first = await one.submit()
    second = await one.submit(after=[{"job": first, "outcome": outcome}])
    third = await one.submit(after=[{"job": second, "outcome": "succeeded"}])
    await one.until(first, "starting")
    await one.say(f"{first}-a1", "exited", exit_code=1)
    record = await one.until(second, state)
    if state == "cancelled":
        assert record.cause.code == CauseCode.DEPENDENCY_NEVER_SATISFIED
        assert record.cause.message == (
            "A job that it waited for failed, and it was to start only once that job had succeeded."
        )
        assert "was cancelled" in (await one.until(third, "cancelled")).cause.message


async def test_several_are_waited_for_and_a_suspended_job_is_told_too(one):
    first, other = await one.submit(), await one.submit()
    both = await one.submit(after=[{"job": first}, {"job": other, "outcome": "finished"}])
    for job in (first, other):
        await one.until(job, "starting")
    assert (
        await reason(one, both)
    ).message == "It waits for another job to succeed and for another job to end."
    await one.control.suspend(both, "ada")
    await one.say(f"{other}-a1", "exited", exit_code=2)
    assert (await one.job(both)).state == "suspended"
    await one.control.resume(both, "ada")
    assert (await reason(one, both)).message == "It waits for another job to succeed."
    await one.control.suspend(both, "ada")
    await one.control.cancel(first, "ada")
    await one.say(f"{first}-a1", "exited", signal=15, stopped="cancelled")
    await one.until(both, "cancelled")


async def test_an_end_that_nobody_was_told_of_is_found_by_the_next_service(any_rig):
    first = await any_rig.submit()
    second = await any_rig.submit(after=[{"job": first}])
    third = await any_rig.submit(after=[{"job": first, "outcome": "failed"}])
    await any_rig.until(first, "starting")
    await reason(any_rig, third)
    any_rig.control._board.ended = lambda *_: None  # killed between the commit and what follows from it
    await any_rig.say(f"{first}-a1", "exited", exit_code=0)
    await any_rig.restart()
    await any_rig.until(second, "starting")
    await any_rig.until(third, "cancelled")


async def test_a_job_that_ended_may_be_deleted_and_those_who_wait_know_how_it_ended(any_rig):
    first, other = await any_rig.submit(), await any_rig.submit()
    both = await any_rig.submit(after=[{"job": first}, {"job": other}])
    for job in (first, other):
        await any_rig.until(job, "starting")
    await any_rig.say(f"{first}-a1", "exited", exit_code=0)
    assert await any_rig.database.write(lambda t: jobs.delete_finished(t, first, "ada"))
    await any_rig.restart()
    await eventually(
        lambda: (r := any_rig.control.reason(both)) and r.message == "It waits for another job to succeed."
    )
    await any_rig.say(f"{other}-a1", "exited", exit_code=0)
    await any_rig.until(both, "starting")


async def test_a_waiting_job_can_be_edited_to_wait_for_others_or_for_none(one):
    first, other = await one.submit(), await one.submit()
    job = await one.submit(after=[{"job": first}])
    await one.until(first, "starting")
    await reason(one, job)

    async def edit(*after):
        row = await one.row(job)
        spec = one.control._board.jobs[job].spec
        spec = type(spec).model_validate({**spec.model_dump(by_alias=True), "after": after})
        done = await one.database.write(
            lambda t: jobs.edit(t, row, spec, time_limit=7, actor="ada", changed=["after"])
        )
        one.control.wake()
        return done

    assert await edit({"job": other, "outcome": "finished"})
    await eventually(lambda: (r := one.control.reason(job)) and r.message.endswith("to end."))
    await one.say(f"{first}-a1", "exited", exit_code=1)
    assert (await one.job(job)).state == "queued"
    assert await edit()
    await one.until(job, "starting")

"""ETAs that the service gives: stored, held against what came true, and known again after a restart."""

from __future__ import annotations

from dataclasses import replace

from support.control import Rig, eventually

ALL = [{"name": "worker", "resources": {"cpu": 4}}]


async def given(rig: Rig, job: str):
    return await eventually(lambda: (eta := rig.control.eta(job)) and eta.middle and eta)


async def test_an_eta_is_stored_and_settled_when_its_job_starts_and_outlives_the_service(
    any_rig: Rig,
) -> None:
    first = await any_rig.submit(roles=ALL, time_limit="10m", name="train-1")
    await any_rig.until(first, "starting")
    second = await any_rig.submit(roles=ALL, time_limit="10m", name="train-2")
    eta = await given(any_rig, second)
    assert eta.basis == "limits"
    assert eta.low <= eta.middle <= eta.high
    foresight = any_rig.control.foresight
    await foresight.round()
    before = await foresight.accuracy()
    assert before.given == before.open > 0
    assert before.settled == 0

    attempt = (await any_rig.job(first)).attempt
    [(record, _)] = await any_rig.attempts(first)
    assert attempt == 1
    await any_rig.say(record.id, "running")
    await any_rig.say(record.id, "exited", exit_code=0)
    await any_rig.until(second, "starting")
    await foresight.round()
    after = await foresight.accuracy()
    assert (after.open, after.settled) == (0, after.given)
    assert after.inside + after.early + after.late == after.settled
    assert after.median_error is not None

    await any_rig.restart()
    again = any_rig.control.foresight
    await eventually(lambda: again._begun)
    assert (await again.accuracy()).settled == after.settled
    assert any_rig.control.eta(second) is None


async def test_what_nobody_can_foretell_is_said_to_be_unknown_and_not_stored(one: Rig) -> None:
    impossible = await one.submit(roles=[{"name": "worker", "resources": {"cpu": 400}}])
    eta = await eventually(lambda: one.control.eta(impossible))
    assert (eta.low, eta.basis) == (None, "unknown")
    assert "NoMatchingFlavor" in eta.sentence
    await one.control.foresight.round()
    assert (await one.control.foresight.accuracy()).given == 0


async def test_an_eta_of_a_job_that_is_stopped_while_it_waits_is_not_open_any_more(one: Rig) -> None:
    first = await one.submit(roles=ALL)
    await one.until(first, "starting")
    second = await one.submit(roles=ALL)
    await given(one, second)
    await one.control.foresight.round()
    assert (await one.control.foresight.accuracy()).open > 0
    await one.control.cancel(second, "ada")
    await one.control.foresight.round()
    accuracy = await one.control.foresight.accuracy()
    assert (accuracy.open, accuracy.settled) == (0, 0)


async def test_a_job_that_is_only_asked_about_gets_a_range_behind_those_who_wait_and_is_not_stored(
    one: Rig,
) -> None:
    first = await one.submit(roles=ALL, time_limit="10m")
    await one.until(first, "starting")
    second = await one.submit(roles=ALL, time_limit="10m")
    waits = await given(one, second)
    workload = one.control._board.jobs[second].workload
    asked = await one.control.foresight.prospect(replace(workload, id="", place=workload.place + 1))
    assert asked is not None
    assert asked.middle > waits.middle
    await one.control.foresight.round()
    assert {row.job for row in one.control.foresight._pending} <= {second}

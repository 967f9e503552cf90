"""Arrays: their runs are made as there is use for them, and they end as their runs do."""

from __future__ import annotations

import pytest

from footplate_hub.control import Refused
from footplate_hub.control.arrays import to_make
from footplate_hub.store import arrays, jobs
from footplate_hub.store.arrays import Progress
from footplate_hub.store.jobs import Viewer
from footplate_spec import JobSpec, ReasonCode
from support.control import eventually

ADA = Viewer("ada", frozenset({"research"}))


async def runs(rig, array):
    async with rig.database.read() as connection:
        rows = await jobs.page(connection, ADA, parent=array)
    return [row["id"] for row in reversed(rows)]


async def progress(rig, array):
    async with rig.database.read() as connection:
        return await arrays.progress_of(connection, array)


async def finish(rig, array, exit_code=0):
    """End one run that was started."""
    found = await eventually(
        lambda: [a for a in rig.engine.applied if a.id not in rig.engine.done and a.job != array]
    )
    rig.engine.done.add(found[0].id)
    await rig.say(found[0].id, "exited", exit_code=exit_code)
    return found[0].job


def test_runs_are_made_up_to_what_may_be_at_once_and_no_more_than_are_of_use():
    few = JobSpec.model_validate({"command": ["x"], "array": {"count": 1000, "at_once": 4}})
    many = JobSpec.model_validate({"command": ["x"], "array": {"count": 1000}})
    assert to_make(few, Progress(1000, 0)) == 4
    assert to_make(few, Progress(1000, 4, {"running": 3, "succeeded": 1})) == 1
    assert to_make(many, Progress(1000, 100, {"running": 90, "queued": 10})) == 22
    assert to_make(many, Progress(1000, 999, {"succeeded": 999})) == 1


async def test_an_array_is_one_row_whose_runs_follow_one_another(any_rig):
    any_rig.engine.done = set()
    array = await any_rig.submit(array={"grid": {"lr": [0.1, 0.01, 0.001]}, "at_once": 2})
    await any_rig.until(array, "running")
    first = await runs(any_rig, array)
    assert len(first) == 2
    reason = any_rig.control.reason(array)
    assert (reason.code, reason.numbers) == (ReasonCode.LIMIT_REACHED, {"at_once": 2, "left": 1})
    async with any_rig.database.read() as connection:
        assert [row["id"] for row in await jobs.page(connection, ADA)] == [array]
    await any_rig.restart()
    for _ in range(3):
        await finish(any_rig, array)
    await any_rig.until(array, "succeeded")
    env = [attempt.spec.env for attempt in any_rig.engine.applied]
    assert {one["FOOTPLATE_ARRAY_INDEX"] for one in env} == {"0", "1", "2"}
    assert {one["FOOTPLATE_PARAM_LR"] for one in env} == {"0.1", "0.01", "0.001"}
    assert (await progress(any_rig, array)).counts == {"succeeded": 3}


async def test_a_failed_run_fails_the_array_once_all_have_ended(one):
    one.engine.done = set()
    array = await one.submit(array={"count": 2, "at_once": 1})
    failed = await finish(one, array, exit_code=3)
    await finish(one, array)
    record = await one.until(array, "failed")
    assert record.cause.message == f"Run 0, {failed}, failed: The program ended with exit code 3."


async def test_cancelling_an_array_cancels_its_runs_and_makes_no_more(any_rig):
    array = await any_rig.submit(array={"count": 50}, roles=[{"resources": {"cpu": 4}}])
    await any_rig.until(array, "running")
    await any_rig.control.cancel(array, "ada")
    running = await eventually(lambda: [a.id for a in any_rig.engine.applied])
    await eventually(lambda: any_rig.control._board.running[running[0]].stopping)
    await any_rig.say(running[0], "exited", signal=15, stopped="cancelled")
    await any_rig.until(array, "cancelled")
    found = await progress(any_rig, array)
    assert (set(found.counts), found.made < 50) == ({"cancelled"}, True)


async def test_an_array_is_suspended_and_resumed_with_its_runs(one):
    array = await one.submit(array={"count": 2}, roles=[{"resources": {"cpu": 4}}])
    await one.until(array, "running")
    await eventually(lambda: one.engine.applied)
    await one.control.suspend(array, "ada")
    running = one.engine.applied[0].id
    await eventually(lambda: one.control._board.running[running].stopping)
    await one.say(running, "exited", signal=15, stopped="suspended")

    async def all_are(state):
        return (await progress(one, array)).counts == {state: 2}

    await eventually(lambda: all_are("suspended"))
    with pytest.raises(Refused, match=f"one run of {array}, which is suspended; resume that first"):
        await one.control.resume((await runs(one, array))[0], "ada")
    await one.control.resume(array, "ada")
    await one.until(array, "running")
    await eventually(lambda: len(one.engine.applied) == 2)


async def test_one_run_is_suspended_alone_and_stays_so_when_its_array_is_resumed(any_rig):
    array = await any_rig.submit(array={"count": 3}, roles=[{"resources": {"cpu": 2}}])
    await any_rig.until(array, "running")
    await eventually(lambda: len(any_rig.engine.applied) == 2)
    alone, other, waiting = await runs(any_rig, array)
    await any_rig.control.suspend(alone, "ada")
    await any_rig.say(f"{alone}-a1", "exited", signal=15, stopped="suspended")
    await eventually(lambda: len(any_rig.engine.applied) == 3)  # the next takes its nodes

    async def states():
        return [(await any_rig.job(run)).state.value for run in (alone, other, waiting)]

    assert await states() == ["suspended", "starting", "starting"]
    await any_rig.control.suspend(array, "ada")
    for attempt in (f"{other}-a1", f"{waiting}-a1"):
        await eventually(lambda attempt=attempt: any_rig.control._board.running[attempt].stopping)
        await any_rig.say(attempt, "exited", signal=15, stopped="suspended")
    await any_rig.until(array, "suspended")
    await any_rig.control.resume(array, "ada")
    await eventually(lambda: len(any_rig.engine.applied) == 5)
    assert await states() == ["suspended", "starting", "starting"]
    await any_rig.say(f"{other}-a2", "exited", exit_code=0)
    await any_rig.control.resume(alone, "ada")
    await any_rig.until(alone, "starting")
    assert (await any_rig.job(array)).state == "running"


async def test_a_run_that_is_suspended_alone_is_found_so_after_a_restart(one):
    array = await one.submit(array={"count": 2, "at_once": 1})
    await one.until(array, "running")
    [alone] = await runs(one, array)
    await one.control.suspend(alone, "ada")
    await one.say(f"{alone}-a1", "exited", signal=15, stopped="suspended")
    await one.until(alone, "suspended")
    await one.restart()
    one.control._dispatcher.arrays.due.add(array)
    one.control.wake()
    with pytest.raises(Refused, match="is suspended already"):
        await one.control.suspend(alone, "ada")
    assert (await one.job(alone)).state == "suspended"
    assert "No more than 1 of its runs" in (await eventually(lambda: one.control.reason(array))).message
    await one.control.resume(alone, "ada")
    await one.until(alone, "starting")


async def test_an_array_waits_for_other_jobs_before_it_makes_runs(one):
    first = await one.submit()
    array = await one.submit(array={"count": 2}, after=[{"job": first}])
    await one.until(first, "starting")
    reason = await eventually(lambda: one.control.reason(array))
    assert reason.code == ReasonCode.WAITING_FOR_JOBS
    assert (await progress(one, array)).made == 0
    await one.say(f"{first}-a1", "exited", exit_code=0)
    await one.until(array, "running")

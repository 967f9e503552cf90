"""A role whose replicas are a range gets as many as there is room for when it starts."""

from __future__ import annotations

import pytest

from support.control import eventually, machine, rig


@pytest.mark.parametrize(("cpu", "given"), [(3000, 3), (8000, 4), (2000, 2)])
async def test_it_gets_what_there_is_room_for(tmp_path, cpu, given):
    async with rig(tmp_path / "data", machine(cpu=cpu)) as one:
        job = await one.submit(roles=[{"replicas": {"min": 2, "max": 4}}])
        assert (await one.row(job))["replicas"] in {2, given}
        await one.until(job, "starting")
        [attempt] = await eventually(lambda: one.engine.applied)
        assert [(role.name, role.replicas) for role in attempt.spec.roles] == [("worker", given)]
        assert len(attempt.replicas) == given
        assert (await one.row(job))["replicas"] == given
        for index in range(given):
            await one.say(f"{job}-a1", "ready", f"worker-{index}", address="127.0.0.1", port=4000 + index)
        assert (await one.wants(f"{job}-a1")).env["WORLD_SIZE"] == str(given)


async def test_fewer_than_the_fewest_is_not_started(tmp_path):
    async with rig(tmp_path / "data", machine(cpu=4000)) as one:
        blocker = await one.submit(roles=[{"resources": {"cpu": 3}}])
        await one.until(blocker, "starting")
        job = await one.submit(roles=[{"replicas": {"min": 2, "max": 4}}])
        reason = await eventually(lambda: one.control.reason(job))
        assert reason.code == "WaitingForCapacity"
        await one.say(f"{blocker}-a1", "exited", exit_code=0)
        await one.until(job, "starting")
        assert (await one.row(job))["replicas"] == 4


async def test_the_next_service_knows_how_many_there_are(tmp_path):
    async with rig(tmp_path / "data", machine(cpu=3000)) as one:
        job = await one.submit(roles=[{"replicas": {"min": 1, "max": 8}}])
        await one.until(job, "starting")
        await eventually(lambda: one.engine.applied)
        one.engine.applied.clear()
        await one.restart()
        [attempt] = await eventually(lambda: one.engine.applied)
        assert attempt.spec.replicas == 3

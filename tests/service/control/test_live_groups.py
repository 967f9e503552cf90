"""A quota that is changed while jobs wait for it."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from footplate_hub.control.live_groups import ChangedMeanwhileError
from footplate_hub.settings import Settings
from footplate_spec import Group, ReasonCode
from support.control import eventually, machine, rig


def group(cpu):
    return Group.model_validate(
        {"name": "research", "quotas": [{"flavor": "cpu", "cpu": cpu, "borrowing_limit": {"cpu": 0.001}}]}
    )


async def test_jobs_wait_for_a_lowered_quota_and_start_when_it_is_raised(any_rig):
    await any_rig.control.put_group(group(1), seen=None, actor="root")
    first, second = await any_rig.submit(), await any_rig.submit()
    await any_rig.until(first, "starting")
    await eventually(
        lambda: (r := any_rig.control.reason(second)) and r.code != ReasonCode.PENDING_EVALUATION and r
    )
    await any_rig.restart()
    assert any_rig.control.groups.group("research") == group(1)
    with pytest.raises(ChangedMeanwhileError):
        await any_rig.control.put_group(group(3), seen=None, actor="root")
    await any_rig.control.put_group(group(2), seen="*", actor="root")
    await any_rig.until(second, "starting")


async def test_a_fair_share_goes_to_the_group_that_used_less_and_is_remembered(tmp_path):
    policy = {"policy": {"order": "fair_share"}}
    clusters = [{"name": "local", **policy}]
    async with rig(tmp_path / "data", machine("n1", 4000, 2), clusters=clusters) as fair:
        whole = [{"resources": {"gpu": 2}}]
        used = await fair.submit(group="greedy", roles=whole)
        await eventually(lambda: f"{used}-a1" in fair.control._board.running)
        fair.control._board.running[f"{used}-a1"] = replace(
            fair.control._board.running[f"{used}-a1"], started=time.time() - 86400
        )
        second = await fair.submit(group="greedy", roles=whole)
        modest = await fair.submit(group="modest", roles=whole)
        await eventually(lambda: fair.control.position(modest))
        await fair.say(f"{used}-a1", "exited", exit_code=0)
        await fair.until(modest, "starting")
        assert (await fair.job(second)).state == "queued"
        assert fair.control._board.accounts.at([], time.time())["greedy"] > 2 * 80000
        await fair.restart()
        assert set(fair.control._board.accounts.at([], time.time())) == {"greedy"}


def test_an_order_that_there_is_not_is_refused_with_its_place(tmp_path):
    groups = [{"name": "a", "policy": {"order": "lottery"}}]
    with pytest.raises(ValueError, match="there is fair_share, fifo"):
        Settings(data=tmp_path, groups=groups)

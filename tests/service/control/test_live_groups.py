"""A quota that is changed while jobs wait for it."""

from __future__ import annotations

import pytest

from footplate_hub.control.live_groups import ChangedMeanwhileError
from footplate_spec import Group, ReasonCode
from support.control import eventually


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

"""What would start a job that waits, on the loops: offered, applied as an edit, and it starts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from footplate_hub.api.fixes import spec_patch
from footplate_hub.queue.changes import Freedom
from footplate_hub.store import jobs
from footplate_spec import Group, JobSpec, Quota, ReasonCode
from support.control import Rig, eventually, machine, rig

GROUPS = [
    Group(name="poor", quotas=[Quota(flavor="gpu", gpu=1, borrowing_limit={"gpu": 0})]),
    Group(name="rich", quotas=[Quota(flavor="gpu", gpu=8)]),
]


@pytest.fixture
async def gpus(tmp_path: Path) -> AsyncIterator[Rig]:
    """Two nodes of four GPUs, of which two of each are in use."""
    nodes = [machine("n1", 8000, 4), machine("n2", 8000, 4), machine("c1", 8000)]
    async with rig(tmp_path / "data", *nodes, groups=GROUPS) as running:
        for name in ("n2", "n1"):
            job = await running.submit(
                group="rich", roles=[{"resources": {"gpu": 2}}], exclude={"nodes": [name]}
            )
            await running.until(job, "starting")
        yield running


@pytest.mark.parametrize(
    ("job", "code", "says"),
    [
        (
            {"group": "rich", "roles": [{"resources": {"gpu": 4}}]},
            ReasonCode.TOPOLOGY_PLACEMENT_FAILED,
            "2 × 2 GPUs instead of 4 on one node",
        ),
        (
            {"group": "poor", "roles": [{"resources": {"gpu": 2}}]},
            ReasonCode.EXCEEDS_MAX_QUOTA,
            "group rich instead of poor",
        ),
        (
            {"group": "rich", "roles": [{"resources": {"cpu": 10, "flavor": "cpu"}}]},
            ReasonCode.NO_MATCHING_FLAVOR,
            "8 cores instead of 10",
        ),
        (
            {"group": "rich", "roles": [{"resources": {"gpu": 2}}], "exclude": {"nodes": ["n1", "n2"]}},
            ReasonCode.NODES_EXCLUDED,
            "node n1 not excluded",
        ),
        (
            {"group": "rich", "roles": [{"resources": {"gpu": 1}}], "placement": {"nodes": {"disk": "ssd"}}},
            ReasonCode.NODES_EXCLUDED,
            "without the label disk=ssd",
        ),
    ],
    ids=["split", "group", "cores", "exclusion", "label"],
)
async def test_the_change_that_is_offered_starts_the_job(
    gpus: Rig, job: dict[str, Any], code: ReasonCode, says: str
) -> None:
    name = await gpus.submit(**job)
    told = await eventually(
        lambda: (r := gpus.control.reason(name)) and r.code != ReasonCode.PENDING_EVALUATION and r
    )
    assert told.code == code
    answer = await gpus.control.advice.fixes(name, Freedom(groups=("poor", "rich"), split=True))
    assert answer is not None
    workload, fixes = answer
    [fix] = [fix for fix in fixes if fix.says == says]
    row = await gpus.row(name)
    spec = JobSpec.model_validate_json(row["spec"])
    change = spec_patch(spec, workload, fix.workload)
    assert ("time_limit" in change) == ("group" in change)  # a group's default would be another
    changed = JobSpec.model_validate({**spec.model_dump(by_alias=True, mode="json"), **change})
    assert await gpus.database.write(
        lambda t: jobs.edit(t, row, changed, time_limit=3600, actor="ada", changed=sorted(change))
    )
    gpus.control.wake()
    await gpus.until(name, "starting")


async def test_a_job_that_runs_needs_no_advice(gpus: Rig) -> None:
    job = await gpus.submit(group="rich")
    await gpus.until(job, "starting")
    assert await gpus.control.advice.fixes(job, Freedom()) is None


async def test_what_one_person_may_have_and_what_a_group_may_not_borrow_make_jobs_wait(
    tmp_path: Path,
) -> None:
    groups = [
        Group(name="lab", per_person={"running": 1}),
        Group(name="hard", quotas=[Quota(flavor="gpu", gpu=1, borrowing_limit={"gpu": 0})]),
        Group(name="lent", quotas=[Quota(flavor="gpu", gpu=3)]),
    ]
    needs = {"roles": [{"resources": {"gpu": 1}}]}
    async with rig(tmp_path / "data", machine("n1", 8000, 4), groups=groups) as running:

        async def told(job: str) -> ReasonCode:
            def code() -> ReasonCode | None:
                reason = running.control.reason(job)
                return reason.code if reason and reason.code != ReasonCode.PENDING_EVALUATION else None

            found: ReasonCode = await eventually(code)
            return found

        for owner, group in (("ada", "lab"), ("bob", "lab"), ("ada", "hard")):
            job = await running.submit(owner, group=group, **(needs if group == "hard" else {}))
            await running.until(job, "starting")
        assert await told(await running.submit("ada", group="lab/deep")) == ReasonCode.LIMIT_REACHED
        assert await told(await running.submit("bob", group="hard", **needs)) == (
            ReasonCode.BORROWING_LIMIT_REACHED
        )
        use = {use.group: use for use in running.control.quota_use(["hard", "lent"]) if use.flavor == "gpu"}
        assert (use["hard"].most["gpu"], use["lent"].most["gpu"]) == (1, 4)

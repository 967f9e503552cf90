"""Groups that are changed while the service runs: over footplate.yaml, audited, no change lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.service import ADA, EVE, LEA, ROOT, Service, run_service

FIXED = [
    {"name": "research", "quotas": [{"flavor": "cpu", "cpu": 100}]},
    {
        "name": "research/vision",
        "quotas": [{"flavor": "cpu", "cpu": 60}],
        "max_time_limit": "2h",
        "time_limit": "1h",
    },
]


@pytest.fixture
async def service(tmp_path: Path, database_url: str | None) -> AsyncIterator[Service]:
    async with run_service(tmp_path / "data", database=database_url, groups=FIXED) as running:
        await running.control.groups.read()
        yield running


async def look(client: Any, group: str) -> tuple[dict[str, Any], dict[str, str]]:
    answer = await client.get(f"groups/{group}")
    return answer.json(), {"If-Match": answer.headers["ETag"]}


async def test_a_change_counts_at_once_and_is_audited(service: Service) -> None:
    lea = service.as_(LEA)
    group, seen = await look(lea, "research/vision")
    changed = {**group, "max_time_limit": "1d", "time_limit": "1d"}
    answer = await lea.put("groups/research/vision", json=changed, headers=seen)
    assert answer.status_code == 200, answer.text
    assert (await look(lea, "research/vision"))[1]["If-Match"] == answer.headers["ETag"] != seen["If-Match"]
    job = await service.as_(ADA).post("jobs", json={"command": ["true"], "time_limit": "20h"})
    assert job.json()["time_limit"] == 20 * 3600
    trail = (await service.as_(ROOT).get("events", params={"actor": "lea"})).json()["items"]
    assert [(event["kind"], event["subject"]) for event in trail] == [("group.changed", "research/vision")]


async def test_of_two_who_change_one_group_the_second_is_told(service: Service) -> None:
    root = service.as_(ROOT)
    group, seen = await look(root, "research/vision")
    first, second = await asyncio.gather(
        *(
            root.put("groups/research/vision", json={**group, "time_limit": t}, headers=seen)
            for t in (60, 120)
        )
    )
    assert sorted([first.status_code, second.status_code]) == [200, 412]
    refused = max(first, second, key=lambda answer: answer.status_code)
    assert "look again and repeat your change" in refused.json()["error"]
    blind = await root.put("groups/research/vision", json=group)
    assert (blind.status_code, blind.json()["code"]) == (428, "if_match")


@pytest.mark.parametrize(
    ("quotas", "sentence"),
    [
        ([{"flavor": "cpu", "cpu": 120}], "more than its 100 cores"),
        ([{"flavor": "cpu", "cluster": "moon", "cpu": 1}], "cluster 'moon', which does not exist"),
    ],
)
async def test_a_tree_that_cannot_be_kept_is_refused(service: Service, quotas: Any, sentence: str) -> None:
    root = service.as_(ROOT)
    group, seen = await look(root, "research/vision")
    answer = await root.put("groups/research/vision", json={**group, "quotas": quotas}, headers=seen)
    assert (answer.status_code, sentence in answer.json()["error"]) == (409, True), answer.text


async def test_what_a_group_may_use_is_said_by_those_above_it(service: Service) -> None:
    lea = service.as_(LEA)
    group, seen = await look(lea, "research")
    assert (await lea.put("groups/research", json=group, headers=seen)).status_code == 403
    assert (await service.as_(ADA).put("groups/research/vision", json=group)).status_code == 403
    assert (await service.as_(EVE).get("groups/research")).status_code == 404
    new = {"name": "research/audio", "quotas": [{"flavor": "cpu", "cpu": 40}]}
    assert (await lea.put("groups/research/audio", json=new)).status_code == 200


async def test_a_group_whose_jobs_wait_is_not_deleted(service: Service) -> None:
    root = service.as_(ROOT)
    assert (await root.put("groups/sales", json={"name": "sales"})).status_code == 200
    job = await service.submit(EVE)
    kept = await root.delete("groups/sales")
    assert (kept.status_code, kept.json()["error"]) == (
        409,
        "Group sales has jobs that wait or run, 1 of them; move or stop them first.",
    )
    await service.control.cancel(job, "eve")
    assert (await root.delete("groups/sales")).status_code == 204
    fixed = await root.delete("groups/research")
    assert "is in footplate.yaml as it stands" in fixed.json()["error"]


async def test_a_budget_is_shown_changed_and_checked(tmp_path: Path) -> None:
    prices = {"currency": "EUR", "flavors": {"cpu": {"core_hour": 0.5}}}
    groups = [{"name": "research", "budget": {"cost": 40, "period": "week"}}]
    async with run_service(tmp_path / "data", prices=prices, groups=groups) as service:
        root, ada, eve = service.as_(ROOT), service.as_(ADA), service.as_(EVE)
        [use] = (await ada.get("budgets")).json()
        assert (use["group"], use["period"], use["currency"]) == ("research", "week", "EUR")
        assert use["cost"] == {"limit": 40, "used": 0, "reserved": 0}
        assert (await eve.get("budgets")).json() == []
        job = {"command": ["true"], "time_limit": "10h", "roles": [{"resources": {"cpu": 2}}]}
        told = (await ada.post("check", json=job)).json()
        assert told["message"].endswith(
            "At most 10.00 EUR. That is 25% of the budget of group research, of which 100% is left."
        )
        [share] = told["budgets"]
        assert (share["of"], share["asked"], share["share"], share["left"]) == ("cost", 10, 0.25, 40)
        long = (await ada.post("check", json={**job, "time_limit": "4d", "group": "research/vision"})).json()
        assert (long["starts"], long["code"]) == ("at", "LimitReached")
        assert "a time limit of 1d16h instead of 4d: starts now" in [fix["sentence"] for fix in long["fixes"]]
        group, seen = await look(root, "research")
        for wrong, sentence in (
            ({"gpu_hours": -1}, "gpu_hours"),
            ({"period": "week"}, "needs gpu_hours or cost"),
            ({"cost": 1, "period": "fortnight"}, "period"),
            ({"cost": "NaN"}, "cost"),
        ):
            refused = await root.put("groups/research", json={**group, "budget": wrong}, headers=seen)
            assert refused.status_code == 422
            assert sentence in refused.json()["error"]
        changed = await root.put(
            "groups/research", json={**group, "budget": {"gpu_hours": 5, "cost": 80}}, headers=seen
        )
        assert changed.status_code == 200
        late = await root.put("groups/research", json={**group, "budget": None}, headers=seen)
        assert late.status_code == 412
        assert (await ada.get("budgets")).json()[0]["cost"]["limit"] == 80

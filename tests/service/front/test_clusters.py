"""Priorities and clusters' policies that are changed while the service runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.service import ADA, LEA, ROOT, Service, run_service

CLUSTERS = [{"name": "local", "policy": {"order": "fair_share"}}]


@pytest.fixture
async def service(tmp_path: Path, database_url: str | None) -> AsyncIterator[Service]:
    async with run_service(tmp_path / "data", database=database_url, clusters=CLUSTERS) as running:
        yield running


async def look(client: Any, path: str) -> tuple[dict[str, Any], dict[str, str]]:
    answer = await client.get(path)
    return answer.json(), {"If-Match": answer.headers["ETag"]}


async def test_priorities_count_at_once_are_audited_and_survive(service: Service) -> None:
    root, ada = service.as_(ROOT), service.as_(ADA)
    found, seen = await look(ada, "priorities")
    assert found == {"priorities": {"low": -100, "normal": 0, "high": 100}}
    changed = {"priorities": {"normal": 0, "high": 100, "urgent": 500}}
    answer = await root.put("priorities", json=changed, headers=seen)
    assert (answer.status_code, answer.json()) == (200, changed)
    job = await service.submit(ADA, priority="urgent")
    refused = await ada.post("jobs", json={"command": ["true"], "priority": "low"})
    assert refused.json()["error"].endswith("there is no priority 'low'; there are high, normal, urgent")
    gone = await root.delete("priorities")
    assert (gone.status_code, gone.json()["error"]) == (
        409,
        "Priority urgent is that of 1 jobs that wait or run; change or stop them first.",
    )
    await service.control.policies.read()
    assert service.control.policies.priorities.priorities["urgent"] == 500
    await service.control.cancel(job, "ada")
    assert (await root.delete("priorities")).status_code == 204
    assert (await look(ada, "priorities"))[0] == found
    trail = (await root.get("events", params={"actor": "root"})).json()["items"]
    assert [(event["kind"], event["data"]) for event in trail if event["kind"].startswith("prio")] == [
        ("priorities.changed", changed),
        ("priorities.changed", {"reset": True}),
    ]


async def test_a_clusters_policy_is_changed_and_reset(service: Service) -> None:
    root = service.as_(ROOT)
    found, seen = await look(root, "clusters/local/policy")
    assert found == {"order": "fair_share", "backfill": True}
    changed = {"order": "fifo", "backfill": False}
    assert (await root.put("clusters/local/policy", json=changed, headers=seen)).status_code == 200
    listed = (await service.as_(ADA).get("clusters")).json()
    assert listed == [{"name": "local", "policy": changed, "held": None}]
    snapshot = service.control._board.snapshot(None)
    assert snapshot.clusters["local"].policy is not None
    assert snapshot.clusters["local"].policy.backfill is False
    assert (await root.delete("clusters/local/policy")).status_code == 204
    assert (await look(root, "clusters/local/policy"))[0] == found


@pytest.mark.parametrize("path", ["priorities", "clusters/local/policy"])
async def test_of_two_who_change_one_thing_the_second_is_told(service: Service, path: str) -> None:
    root = service.as_(ROOT)
    found, seen = await look(root, path)
    first, second = await asyncio.gather(
        *(root.put(path, json=_other(found, n), headers=seen) for n in (1, 2))
    )
    assert sorted([first.status_code, second.status_code]) == [200, 412]
    refused = max(first, second, key=lambda answer: answer.status_code)
    assert refused.json()["error"].endswith("look again and repeat your change")
    assert (await root.put(path, json=found)).status_code == 428
    assert (await root.put(path, json=found, headers={"If-Match": "*"})).status_code == 200
    for person in (ADA, LEA):
        assert (await service.as_(person).put(path, json=found, headers=seen)).status_code == 403


def _other(found: dict[str, Any], number: int) -> dict[str, Any]:
    if "priorities" in found:
        return {"priorities": {"normal": number}}
    return {"order": "fifo", "backfill": number == 1}


@pytest.mark.parametrize(
    ("path", "wrong", "status", "sentence"),
    [
        ("priorities", {"priorities": {"high": 1}}, 422, "must contain 'normal'"),
        ("priorities", {"priorities": {"normal": 0, "high": 10**12}}, 422, "high"),
        ("priorities", {"priorities": {"normal": "much"}}, 422, "normal"),
        ("priorities", {"priorities": {"normal": 0, "No!": 1}}, 422, "No!"),
        ("priorities", {"normal": 0}, 422, "no field 'normal'"),
        ("clusters/local/policy", {"order": "lottery"}, 409, "there is fair_share, fifo"),
        ("clusters/moon/policy", {"order": "fifo"}, 404, "there are local"),
    ],
)
async def test_what_is_wrong_is_refused_and_nothing_changes(
    tmp_path: Path, path: str, wrong: Any, status: int, sentence: str
) -> None:
    async with run_service(tmp_path / "data", clusters=CLUSTERS) as service:
        root = service.as_(ROOT)
        before = (await root.get("priorities")).json(), (await root.get("clusters")).json()
        answer = await root.put(path, json=wrong, headers={"If-Match": "*"})
        assert (answer.status_code, sentence in answer.json()["error"]) == (status, True), answer.text
        assert ((await root.get("priorities")).json(), (await root.get("clusters")).json()) == before

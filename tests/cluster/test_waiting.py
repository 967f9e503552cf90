"""Causes of waiting, made to happen on a real cluster by each engine: what is told is what is in the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cluster.conftest import ENGINES, Cluster, Place, cluster_with

HOLD = "import time; time.sleep(600)"
QUOTA = {"cluster": "kube", "flavor": "cpu", "gpu": 3}
GROUP = "research/vision"


def asks(**resources: Any) -> dict[str, Any]:
    return {"role": {"resources": resources}}


def half(cores: float, time_limit: int = 3600, **fields: Any) -> dict[str, Any]:
    need = {"cpu": f"{int(cores * 1000)}m", "memory": "64Mi"}
    return {"role": {"resources": need}, "time_limit": time_limit, **fields}


@pytest.fixture(params=ENGINES)
async def full(request: pytest.FixtureRequest, place: Place, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A service whose group has a quota; the node's cores are told to the test."""
    more = {
        "groups": [{"name": GROUP, "quotas": [QUOTA]}],
        "volumes": [{"name": "data", "path": str(tmp_path)}],
    }
    claims = {"data": "no-such-claim"}
    async with cluster_with(place, request.param, tmp_path, claims, **more) as running:
        yield running


async def reason(cluster: Cluster, job: str, code: str, says: str = "") -> None:
    """Wait until a job waits for this reason, and compare the sentence."""
    seen = await cluster.until(
        job, lambda seen: bool(seen["reason"]) and seen["reason"]["code"] == code, patience=20
    )
    assert says in seen["reason"]["message"], seen["reason"]


async def told(cluster: Cluster, job: str, says: str) -> None:
    """Wait until a replica that was admitted says what it waits for."""

    def says_it(seen: dict[str, Any]) -> bool:
        rows = seen["attempts"][-1]["replicas"] if seen["attempts"] else []
        return any(says in (row["message"] or "") for row in rows)

    await cluster.until(job, says_it, patience=40)


async def gone(cluster: Cluster, *jobs: str) -> None:
    async with cluster.client() as client:
        for job in jobs:
            await client.post(f"jobs/{job}/cancel")
    for job in jobs:
        await cluster.ended(job)


async def test_a_job_says_why_the_queue_lets_it_wait(full: Cluster) -> None:
    [node] = [n for n in await nodes(full) if n["ready"]]
    cores, name = node["cpu"] / 1000, node["name"]
    never = {
        "more GPUs than any node has": (asks(gpu=16), "NoMatchingFlavor"),
        "more than the group may ever have": (asks(gpu=4), "ExceedsMaxQuota"),
        "its own exclusion": ({"exclude": {"nodes": [name]}}, "NodesExcluded"),
        "a label that no node has": ({"placement": {"nodes": {"disk": "nvme"}}}, "NodesExcluded"),
        "a gang that no cluster holds": (
            {"role": {"replicas": 50, "resources": {"cpu": 1}}},
            "NoMatchingFlavor",
        ),
    }
    for what, (fields, code) in never.items():
        job = await full.submit(HOLD, **fields)
        await reason(full, job, code)
        assert (await full.view(job))["state"] == "queued", what
        await gone(full, job)
    # Others have what it needs.
    holds = await full.submit(HOLD, **asks(gpu=2, cpu="100m", memory="64Mi"))
    await full.running(holds)
    quota = await full.submit(HOLD, **asks(gpu=2, cpu="100m", memory="64Mi"))
    await reason(full, quota, "WaitingForQuota")
    await gone(full, holds, quota)
    holds = await full.submit(HOLD, **half(cores * 0.6))
    await full.running(holds)
    ahead = await full.submit(HOLD, **half(cores * 0.8))
    await reason(full, ahead, "WaitingForCapacity", "free on")
    behind = await full.submit(HOLD, **half(cores * 0.25, time_limit=7200))
    await reason(full, behind, "ReservedForAhead")
    after = await full.submit("print(1)", after=[{"job": holds}])
    await reason(full, after, "WaitingForJobs", holds)
    await gone(full, behind, ahead, holds, after)
    # Somebody who may wants it so.
    async with full.client("root") as root, full.client() as client:
        for hold in (f"holds/groups/{GROUP}", "holds/clusters/kube"):
            assert (await root.put(hold, json={"why": "new disks"})).status_code < 300
            job = await full.submit(HOLD)
            await reason(full, job, "Held", "new disks")
            await root.delete(hold)
            await gone(full, job)
        many = await full.submit(HOLD, array={"count": 3, "at_once": 1})
        await reason(full, many, "LimitReached", "No more than 1")
        await gone(full, many)
        job = await full.submit(HOLD)
        await client.post(f"jobs/{job}/suspend")
        await full.until(job, lambda seen: seen["state"] == "suspended")
        await reason(full, job, "Suspended")
        await gone(full, job)
    await full.api.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}})
    try:
        async with asyncio.timeout(30):
            while not any(n["taints"] for n in await nodes(full)):
                await asyncio.sleep(0.05)
        job = await full.submit(HOLD)
        await reason(full, job, "NodesExcluded", name)
    finally:
        await full.api.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": None}})
    await full.running(job)


async def test_a_job_says_why_the_cluster_lets_it_wait(full: Cluster) -> None:
    image = await full.submit(HOLD, image="localhost/none:1")
    await told(full, image, "cannot be pulled")
    claim = await full.submit(HOLD, mounts=[{"volume": "data", "path": "/data"}])
    await told(full, claim, "no-such-claim")
    await gone(full, image, claim)
    quotas = f"/api/v1/namespaces/{full.namespace}/resourcequotas"
    small = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
    await full.api.create(quotas, {**small, "spec": {"hard": {"pods": "0"}}})
    await settled(full, f"{quotas}/small")
    job = await full.submit("print(1)")
    await told(full, job, "exceeded quota")
    await full.api.delete(f"{quotas}/small")
    assert (await full.ended(job))["state"] == "succeeded"


async def settled(cluster: Cluster, quota: str) -> None:
    """Wait until a quota counts."""
    async with asyncio.timeout(20):
        while "pods" not in ((await cluster.api.get(quota)).get("status") or {}).get("hard", {}):
            await asyncio.sleep(0.05)


async def nodes(cluster: Cluster) -> list[dict[str, Any]]:
    async with cluster.client("root") as client:
        return (await client.get("nodes")).json()

"""What the queue offers is done: jobs that wait start as they were told, with real keepers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from support.control import ServiceProcess, eventually, service_process

NODES = [
    {"name": "n1", "cpu": 8, "memory": "8Gi", "gpu": 8, "declared": True, "flavor": "h100"},
    {"name": "n2", "cpu": 8, "memory": "8Gi", "gpu": 8, "declared": True, "flavor": "h100"},
    {"name": "n3", "cpu": 4, "memory": "8Gi", "gpu": 2, "declared": True, "flavor": "a100"},
]
GROUPS = [
    {
        "name": "research/vision",
        "per_person": {"gpus": 64},
        "quotas": [{"flavor": "a100", "gpu": 2, "borrowing_limit": {"gpu": 0}}],
    }
]
SMALL = {"cpu": 0.1, "memory": "64Mi"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("service")
    clusters = [{"name": "local", "nodes": NODES}]
    with service_process(folder, clusters=clusters, groups=GROUPS) as running:
        yield running


def needs(gpu: int, **resources: Any) -> dict[str, Any]:
    return {"roles": [{"resources": {**SMALL, "gpu": gpu, "flavor": "h100", **resources}}]}


async def submit(client: httpx.AsyncClient, **job: Any) -> str:
    answer = await client.post("jobs", json={"command": ["sleep", "600"], **job})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def runs(client: httpx.AsyncClient, job: str) -> None:
    async def there() -> bool:
        return (await client.get(f"jobs/{job}")).json()["state"] in {"starting", "running"}

    await eventually(there, 30)


async def told(client: httpx.AsyncClient, job: str, code: str) -> dict[str, Any]:
    """The answer to "why?", once a pass has looked at it."""

    async def there() -> dict[str, Any] | None:
        why: dict[str, Any] = (await client.get(f"jobs/{job}/why")).json()
        return why if why["reason"] and why["reason"]["code"] != "PendingEvaluation" else None

    why: dict[str, Any] = await eventually(there)
    assert why["reason"]["code"] == code, why["sentence"]
    return why


async def test_each_offer_starts_the_job_that_it_was_made_for(service: ServiceProcess) -> None:
    async with service.client() as client:
        for node in ("n2", "n1"):  # half of each large node is in use
            busy = await submit(client, **needs(4), exclude={"nodes": [node]}, time_limit="1h")
            await runs(client, busy)
        cases: list[tuple[dict[str, Any], str, str]] = [
            (needs(8), "TopologyPlacementFailed", "2 × 4 GPUs instead of 8 on one node: starts now"),
            (
                needs(8),
                "TopologyPlacementFailed",
                "4 GPUs instead of 8: starts now",
            ),
            (
                {**needs(4), "exclude": {"nodes": ["n1", "n2"]}},
                "NodesExcluded",
                "node n1 not excluded: starts now",
            ),
            (
                {**needs(2), "placement": {"nodes": {"disk": "ssd"}}},
                "NodesExcluded",
                "without the label disk=ssd: starts now",
            ),
            (needs(1, cpu=9), "NoMatchingFlavor", "7 cores instead of 9: starts now"),
            (needs(4, flavor="a100"), "NoMatchingFlavor", "flavor h100 instead of a100: starts now"),
        ]
        for job, code, offer in cases:
            name = await submit(client, **job)
            why = await told(client, name, code)
            offers = {fix["sentence"]: fix["change"] for fix in why["fixes"]}
            assert offer in offers, why
            answer = await client.patch(f"jobs/{name}", json=offers[offer])
            assert answer.status_code == 200, answer.text
            await runs(client, name)
            await client.post(f"jobs/{name}/cancel")

            async def ended(name: str = name) -> bool:
                return (await client.get(f"jobs/{name}")).json()["state"] == "cancelled"

            await eventually(ended, 30)


async def test_a_check_agrees_with_what_then_happens(service: ServiceProcess) -> None:
    async with service.client() as client:
        yes = (await client.post("check", json={"command": "x", **needs(2)})).json()
        no = (await client.post("check", json={"command": "x", **needs(16)})).json()
        assert (yes["starts"], no["starts"], no["code"]) == ("now", "never", "NoMatchingFlavor")
        assert no["message"].startswith("It would never start. Needs 16 GPUs")
        await runs(client, await submit(client, **needs(2)))

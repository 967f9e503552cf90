"""The whole path with real keepers: a job through the API, its process, its result; and a service that is
killed again and again meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from footplate_agent import processes
from support.control import ServiceProcess, eventually, service_process

NODES = [
    {"name": "n1", "cpu": 6, "memory": "8Gi", "gpu": 2, "declared": True, "flavor": "gpu"},
    {"name": "n2", "cpu": 6, "memory": "8Gi", "address": "127.0.0.2"},
]
FINAL = {"succeeded", "failed", "cancelled"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("service")
    with service_process(folder, clusters=[{"name": "local", "nodes": NODES}]) as running:
        yield running


async def submit(client: httpx.AsyncClient, **job: Any) -> str:
    answer = await client.post("jobs", json=job)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def state(client: httpx.AsyncClient, job: str, *wanted: str, patience: float = 30) -> dict[str, Any]:
    async def there() -> dict[str, Any] | None:
        view: dict[str, Any] = (await client.get(f"jobs/{job}")).json()
        return view if view["state"] in (wanted or FINAL) else None

    found: dict[str, Any] = await eventually(there, patience)
    return found


async def log(client: httpx.AsyncClient, job: str, replica: str = "worker/0", **which: int) -> str:
    return (await client.get(f"jobs/{job}/logs/{replica}", params=which)).text


async def test_a_command_runs_and_its_output_and_end_are_known(service):
    async with service.client() as client:
        job = await submit(client, command=["bash", "-c", "echo hello; exit 3"])
        view = await state(client, job)
        assert (view["state"], view["cause"]["code"], view["cause"]["exit_code"]) == (
            "failed",
            "UserError",
            3,
        )
        assert await log(client, job) == "hello\n"
    await eventually(lambda: not (service.data / "replicas" / f"{job}-a1").exists())


async def test_a_gang_meets_across_declared_nodes(service):
    script = (
        "import os, socket, time\n"
        "rank, port = int(os.environ['RANK']), int(os.environ['MASTER_PORT'])\n"
        "if rank == 0:\n"
        "    s = socket.create_server((os.environ['MASTER_ADDR'], port)); s.settimeout(20)\n"
        "    for _ in range(int(os.environ['WORLD_SIZE']) - 1): s.accept()[0].close()\n"
        "else:\n"
        "    for _ in range(200):\n"
        "        try: socket.create_connection((os.environ['MASTER_ADDR'], port)).close(); break\n"
        "        except OSError: time.sleep(0.05)\n"
        "    else: raise SystemExit('rank 0 is not there')\n"
        "print(rank, os.environ['WORLD_SIZE'])\n"
    )
    async with service.client() as client:
        roles = [{"replicas": 4, "resources": {"cpu": 2, "memory": "256Mi", "flavor": ["cpu"]}}]
        waits = await submit(client, command=["python3", "-c", script], roles=roles)
        roles[0]["replicas"] = 3
        job = await submit(client, command=["python3", "-c", script], roles=roles)
        why = (await client.get(f"jobs/{waits}/why")).json()
        assert why["state"] == "queued"
        assert (await state(client, job))["state"] == "succeeded"
        assert [await log(client, job, f"worker/{i}") for i in range(3)] == [f"{i} 3\n" for i in range(3)]
        why = (await client.get(f"jobs/{waits}/why")).json()
        assert why["reason"]["code"] == "NoMatchingFlavor"
        await client.post(f"jobs/{waits}/cancel")


async def test_cancel_gives_time_for_a_checkpoint_that_the_next_attempt_finds(service):
    script = (
        "trap 'echo saved > $FOOTPLATE_CHECKPOINT/state; exit 0' TERM;"
        "cat $FOOTPLATE_CHECKPOINT/state 2>/dev/null && exit 0; echo ready; while true; do sleep 0.05; done"
    )
    async with service.client() as client:
        job = await submit(client, command=["bash", "-c", script], recovery={"checkpoint_grace": 20})
        await eventually(lambda: _has_log(client, job, "ready"))
        assert (await client.post(f"jobs/{job}/suspend")).status_code == 200
        await state(client, job, "suspended")
        assert (await client.post(f"jobs/{job}/resume")).status_code == 200
        view = await state(client, job)
        assert (view["state"], view["attempt"], view["restarts"]) == ("succeeded", 2, 0)
        assert await log(client, job) == "saved\n"


async def _has_log(client: httpx.AsyncClient, job: str, text: str) -> bool:
    return text in await log(client, job)


async def test_a_killed_keeper_is_lost_and_the_gang_runs_again_as_a_new_execution(service):
    async with service.client() as client:
        script = "echo run $FOOTPLATE_EXECUTION; [ $FOOTPLATE_EXECUTION = 2 ] || sleep 600"
        job = await submit(client, command=["bash", "-c", script])
        folder = service.data / "replicas" / f"{job}-a1" / "worker-0"
        await eventually(lambda: _has_log(client, job, "run 1"))
        old = processes.marked(str(folder))
        os.kill(json.loads((folder / "keeper.json").read_text())["pid"], signal.SIGKILL)
        view = await state(client, job)
        assert (view["state"], view["restarts"]) == ("succeeded", 1)
        assert await log(client, job, execution=1) == "run 1\n"
        assert await log(client, job, execution=2) == "run 2\n"
        assert not any(processes.identity(pid) for pid in old)


async def test_a_job_on_a_blocked_node_moves(service):
    async with service.client() as client:
        script = "echo $FOOTPLATE_ATTEMPT; [ ${FOOTPLATE_ATTEMPT##*-a} = 2 ] || sleep 600"
        job = await submit(client, command=["bash", "-c", script], recovery={"checkpoint_grace": 1})
        await eventually(lambda: _has_log(client, job, "-a1"))
        view = (await client.get(f"jobs/{job}")).json()
        node = view["attempts"][0]["replicas"][0]["node"]
        async with service.client("root") as root:
            assert (await root.post(f"nodes/local/{node}/block", json={"why": "dust"})).status_code == 200
            view = await state(client, job)
            await root.post(f"nodes/local/{node}/unblock")
        assert view["state"] == "succeeded"
        assert [a["replicas"][0]["node"] != node for a in view["attempts"]] == [False, True]


async def test_twenty_jobs_run_exactly_once_while_the_service_is_killed_ten_times(service, tmp_path):
    rng = random.Random(7)
    script = f"echo $FOOTPLATE_JOB >> {tmp_path}/ran; sleep $((RANDOM % 3)).$((RANDOM % 10)); echo done"
    roles = [{"resources": {"cpu": 3, "memory": "256Mi"}}]  # four at a time
    async with service.client() as client:
        ids = [
            await submit(client, name=f"j{n}", command=["bash", "-c", script], roles=roles) for n in range(20)
        ]
    for _ in range(10):
        await asyncio.sleep(rng.random() * 0.5)
        service.kill()
        service.start()
    async with service.client() as client:
        views = [await state(client, job, patience=60) for job in ids]
        assert [view["state"] for view in views] == ["succeeded"] * 20
        assert [len(view["attempts"]) for view in views] == [1] * 20
        assert sorted((tmp_path / "ran").read_text().split()) == sorted(ids)
        for job in ids:
            assert await log(client, job) == "done\n"
            kinds = [event["kind"] for event in (await client.get(f"jobs/{job}/events")).json()]
            assert (kinds.count("job.succeeded"), kinds.count("replica.ended")) == (1, 1)
    await eventually(lambda: not any((service.data / "replicas").iterdir()))


async def test_a_folder_of_a_job_that_is_not_in_the_store_goes_with_the_next_start(service):
    stray = service.data / "replicas" / "gone-xxxxxx-a1" / "worker-0"
    stray.mkdir(parents=True)
    (stray / "output-1").write_text("old")
    service.stop()
    service.start()
    await eventually(lambda: not stray.parent.exists())


def test_nothing_is_left_when_service_and_jobs_have_ended(service):
    folder: Path = service.data / "replicas"
    assert not any(folder.iterdir())

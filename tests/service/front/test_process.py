"""The service as a process: started, refused, killed at any instant, and what was accepted is there."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from footplate_hub.store.jobs import Viewer
from support.hub import run_hub, user


@contextmanager
def process(data: Path, hub: str, port: int, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """``python -m footplate_hub.serve``; killed at the end if it still runs."""
    env = {
        "PATH": os.environ["PATH"], "HOME": str(data.parent), "FOOTPLATE_DATA": str(data),
        "FOOTPLATE_URL": f"http://127.0.0.1:{port}/services/footplate/", "FOOTPLATE_BIND_PORT": str(port),
        "JUPYTERHUB_API_URL": hub, "JUPYTERHUB_API_TOKEN": "service-token",
        "JUPYTERHUB_SERVICE_NAME": "footplate", "JUPYTERHUB_CLIENT_ID": "service-footplate",
        "JUPYTERHUB_SERVICE_PREFIX": "/services/footplate/", **settings,
    }  # fmt: skip
    started = subprocess.Popen(
        [sys.executable, "-m", "support.serving"], env=env | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield started
    finally:
        if started.poll() is None:
            started.kill()
        started.wait()
        assert started.stderr is not None
        started.stderr.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


async def ready(client: httpx.AsyncClient) -> None:
    for _ in range(400):
        try:
            if (await client.get("healthz")).status_code == 200:
                return
        except httpx.TransportError:
            await asyncio.sleep(0.05)
    raise AssertionError("the service did not start")


def client_of(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}/services/footplate/", trust_env=False, timeout=20,
        headers={"Authorization": "token t-ada"},
    )  # fmt: skip


async def test_nothing_accepted_is_lost_when_the_service_is_killed_while_it_submits(tmp_path: Path) -> None:
    accepted: dict[str, str] = {}
    port = free_port()

    async def submit(worker: int, client: httpx.AsyncClient) -> None:
        for number in range(25):
            key = f"{worker}-{number}"
            while key not in accepted:
                try:
                    answer = await client.post(
                        "jobs", json={"command": "true"}, headers={"Idempotency-Key": key}
                    )
                except httpx.TransportError:
                    await asyncio.sleep(0.02)
                    continue
                assert answer.status_code in {200, 201}, answer.text
                accepted[key] = answer.json()["id"]

    async with run_hub() as hub, client_of(port) as client:
        hub.tokens = {"t-ada": user("ada", "research")}
        work = asyncio.gather(*(submit(worker, client) for worker in range(8)))
        random.seed(3)
        for _ in range(3):
            with process(tmp_path / "data", hub.url, port) as running:
                await ready(client)
                await asyncio.sleep(random.uniform(0.0, 0.25))
                running.send_signal(signal.SIGKILL)
                await asyncio.to_thread(running.wait)
        with process(tmp_path / "data", hub.url, port):
            await work
            listed = (await client.get("jobs", params={"limit": 1000})).json()["items"]
            events = (await client.get("events", params={"limit": 1000})).json()["items"]
    ids = [job["id"] for job in listed]
    submitted = [event["subject"] for event in events if event["kind"] == "job.submitted"]
    assert len(set(accepted.values())) == 200
    assert sorted(ids) == sorted(accepted.values())
    assert sorted(submitted) == sorted(ids)


async def test_a_signal_ends_it_with_its_streams_at_once(tmp_path: Path) -> None:
    port = free_port()
    async with run_hub() as hub, client_of(port) as client:
        hub.tokens = {"t-ada": user("ada", "research")}
        with process(tmp_path / "data", hub.url, port) as running:
            await ready(client)
            job = (await client.post("jobs", json={"command": "true"})).json()["id"]
            async with client.stream("GET", f"jobs/{job}/follow") as response:
                lines = response.aiter_lines()
                await anext(lines)
                running.terminate()
                async for _ in lines:
                    pass
            assert await asyncio.to_thread(running.wait, 10) in {0, -signal.SIGTERM}
            assert running.stderr is not None
            said = running.stderr.read()
    assert "t-ada" not in said
    assert "service-token" not in said
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    loose = [file for file in (tmp_path / "data").rglob("*") if file.stat().st_mode & 0o077]
    assert loose == []


async def test_two_services_do_not_share_a_folder(tmp_path: Path) -> None:
    port = free_port()
    async with run_hub() as hub, client_of(port) as client:
        with process(tmp_path / "data", hub.url, port):
            await ready(client)
            with process(tmp_path / "data", hub.url, free_port()) as second:
                _, said = await asyncio.to_thread(second.communicate)
    assert (second.returncode, "another service already uses" in said) == (2, True)


async def test_a_folder_that_others_may_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "data").chmod(0o755)
    with process(tmp_path / "data", "http://127.0.0.1:9/hub/api", free_port()) as refused:
        _, said = await asyncio.to_thread(refused.communicate)
    assert (refused.returncode, "chmod 700" in said, said.count("\n")) == (2, True, 1)


async def test_settings_that_cannot_be_used_are_one_sentence(tmp_path: Path) -> None:
    hub, port = "http://127.0.0.1:9/hub/api", free_port()
    with process(tmp_path / "data", hub, port, FOOTPLATE_PRIORITIES='{"high": 1}') as refused:
        _, said = await asyncio.to_thread(refused.communicate)
    assert (refused.returncode, "priorities must contain 'normal'" in said) == (2, True)


async def test_nodes_that_this_machine_does_not_have_are_one_sentence(tmp_path: Path) -> None:
    hub, port = "http://127.0.0.1:9/hub/api", free_port()
    nodes = '[{"name": "local", "nodes": [{"name": "a", "cpu": 1, "memory": "1Gi", "gpu": 512}]}]'
    with process(tmp_path / "data", hub, port, FOOTPLATE_CLUSTERS=nodes) as refused:
        _, said = await asyncio.to_thread(refused.communicate)
    assert (refused.returncode, said.count("\n")) == (2, 1)
    assert "Node a has 512 GPUs in the configuration" in said
    assert "declared: true" in said


def test_a_viewer_sees_the_own_and_the_groups() -> None:
    ada = Viewer("ada", frozenset({"research"}))
    assert [ada.sees("ada", "x"), ada.sees("bob", "research"), ada.sees("bob", "x")] == [True, True, False]

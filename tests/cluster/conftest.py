"""A real cluster that is already there, and the real service with its Kubernetes engine beside it.

``FOOTPLATE_TEST_KUBECONFIG`` names the way in; ``FOOTPLATE_TEST_SERVICE`` is ``host:port`` as pods reach this
machine, or ``FOOTPLATE_TEST_NETNS`` a process in whose network pods look for it (see ``relay``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from footplate_hub.app import create_app
from footplate_hub.engines.kubernetes.api import ClusterApi
from footplate_hub.settings import KubernetesSettings, Settings
from support.service import ADA, PREFIX, ROOT, FakeIdentity

ENGINES = ("kubernetes", "volcano", "kubeflow", "kubeflow-v1", "kubedl")
IMAGE = os.environ.get("FOOTPLATE_TEST_IMAGE", "localhost/python:3.11")
SMALL = {"cpu": "50m", "memory": "64Mi"}
RELAY = Path(__file__).parent / "relay.py"
INSIDE = "10.50.0.1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "FOOTPLATE_TEST_KUBECONFIG" not in os.environ:
        missing = pytest.mark.skip(reason="needs a Kubernetes cluster; name it in FOOTPLATE_TEST_KUBECONFIG")
        for item in items:
            item.add_marker(missing)


@dataclass
class Cluster:
    """The service under test, the cluster behind it, and a person who uses it."""

    data: Path
    engine: str
    namespace: str
    port: int
    api: ClusterApi
    _server: uvicorn.Server | None = None
    _task: asyncio.Task[None] | None = None
    jobs: list[str] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        url = f"http://127.0.0.1:{self.port}{PREFIX}"
        host = os.environ.get("FOOTPLATE_TEST_SERVICE", f"{INSIDE}:{self.port}")
        kubernetes = {
            "kubeconfig": os.environ["FOOTPLATE_TEST_KUBECONFIG"],
            "namespace": self.namespace,
            "image": IMAGE,
            "service": f"http://{host}{PREFIX}",
        }
        cluster = {"name": "kube", "engine": self.engine, "kubernetes": kubernetes}
        return Settings(
            data=self.data, url=url, bind_port=self.port, limits={"disk_free": 0}, clusters=[cluster]
        )

    async def start(self) -> None:
        """Start the service, as after a death: all that it knows is on the disk and in the cluster."""
        listening = socket.create_server(("127.0.0.1", self.port))
        app = create_app(self.settings, FakeIdentity(ADA, ROOT))
        self._server = uvicorn.Server(uvicorn.Config(app, ws="none", log_level="warning"))
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]))
        while not self._server.started:
            await asyncio.sleep(0.01)
            if self._task.done():
                self._task.result()

    async def stop(self) -> None:
        """Stop the service; pods go on."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task
            self._server = None

    def client(self, who: str = "ada") -> httpx.AsyncClient:
        headers = {"Authorization": f"token token-{who}"}
        return httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}{PREFIX}", headers=headers, timeout=60
        )

    async def submit(self, program: str, **fields: Any) -> str:
        """Queue ``python3 -c program`` with small resources."""
        role = {"resources": SMALL, **fields.pop("role", {})}
        spec = {"command": ["python3", "-c", program], "roles": [role], **fields}
        async with self.client() as client:
            answer = await client.post("jobs", json=spec, headers={"Idempotency-Key": secrets.token_hex(8)})
        assert answer.status_code == 201, answer.text
        self.jobs.append(answer.json()["id"])
        return self.jobs[-1]

    async def view(self, job: str) -> dict[str, Any]:
        async with self.client() as client:
            return (await client.get(f"jobs/{job}")).json()

    async def until(
        self, job: str, condition: Callable[[dict[str, Any]], bool], patience: float = 90.0
    ) -> Any:
        """The job once ``condition`` holds."""
        deadline = time.monotonic() + patience
        while not condition(seen := await self.view(job)):
            assert time.monotonic() < deadline, seen
            await asyncio.sleep(0.05)
        return seen

    async def ended(self, job: str) -> dict[str, Any]:
        return await self.until(job, lambda seen: seen["state"] in {"succeeded", "failed", "cancelled"})

    async def running(self, job: str) -> dict[str, Any]:
        return await self.until(job, lambda seen: seen["state"] == "running")

    async def log(self, job: str, execution: int = 1, role: str = "worker", replica: int = 0) -> str:
        asked = {"execution": execution}
        async with self.client() as client:
            answer = await client.get(f"jobs/{job}/logs/{role}/{replica}", params=asked)
        assert answer.status_code in {200, 206}, answer.text
        return answer.text

    async def pods(self, job: str) -> list[dict[str, Any]]:
        """The job's pods."""
        found, _ = await self.api.list(self._pods, labelSelector=f"footplate/job={job}")
        return found

    async def delete_pods(self, job: str, grace: int) -> None:
        for pod in await self.pods(job):
            await self.api.delete(f"{self._pods}/{pod['metadata']['name']}", gracePeriodSeconds=grace)

    @property
    def _pods(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"


@pytest.fixture(params=ENGINES)
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A service on one engine, in a namespace of its own."""
    async with _cluster(request.param, tmp_path) as running:
        yield running


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[Cluster]:
    """A service on plain Kubernetes."""
    async with _cluster("kubernetes", tmp_path) as running:
        yield running


@contextlib.asynccontextmanager
async def _cluster(engine: str, folder: Path) -> AsyncIterator[Cluster]:
    namespace = f"fp-{secrets.token_hex(4)}"
    kubeconfig = Path(os.environ["FOOTPLATE_TEST_KUBECONFIG"])
    api = ClusterApi(KubernetesSettings(kubeconfig=kubeconfig, image=IMAGE, namespace=namespace))
    await api.connect()
    await api.create("/api/v1/namespaces", {"apiVersion": "v1", "metadata": {"name": namespace}})
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    data = folder / "data"
    data.mkdir(mode=0o700)
    relay = None
    if "FOOTPLATE_TEST_NETNS" in os.environ:
        words = [os.environ["FOOTPLATE_TEST_NETNS"], INSIDE, str(port), str(port)]
        relay = subprocess.Popen([sys.executable, str(RELAY), *words])
    running = Cluster(data, engine, namespace, port, api)
    try:
        await running.start()
        yield running
    finally:
        await running.stop()
        if relay is not None:
            relay.kill()
            relay.wait()
        await api.delete(f"/api/v1/namespaces/{namespace}")
        await api.close()

"""A real cluster, and the real service with its Kubernetes engine beside it.

The cluster is started for the session (see ``harness``) where this machine can. ``FOOTPLATE_TEST_KUBECONFIG``
names one that is there instead, whose pods reach this machine at ``FOOTPLATE_TEST_SERVICE``, a host.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from cluster.harness import images, tools
from cluster.harness.whole import Whole, whole_cluster
from footplate_hub.app import create_app
from footplate_hub.engines.kubernetes.api import ClusterApi
from footplate_hub.engines.kubernetes.pods import index_of
from footplate_hub.settings import KubernetesSettings, Settings
from support.service import ADA, PREFIX, ROOT, FakeIdentity

CONTROLLERS = {
    "volcano": "volcano",
    "kubeflow": "trainer",
    "kubeflow-v1": "training-operator",
    "kubedl": "kubedl",
}
ENGINES = ("kubernetes", "volcano", "kubeflow", "kubeflow-v1", "kubedl")
IMAGE = os.environ.get("FOOTPLATE_TEST_IMAGE", images.PYTHON)
SMALL = {"cpu": "50m", "memory": "64Mi"}
KUBECONFIG = os.environ.get("FOOTPLATE_TEST_KUBECONFIG")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    why = None if KUBECONFIG else tools.missing()
    if why is not None:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=why))


@dataclass
class Place:
    """A cluster, and how its pods reach a port of this machine."""

    kubeconfig: str
    whole: Whole | None = None

    def reach(self, port: int) -> tuple[str, subprocess.Popen[bytes] | None]:
        """Where pods find a loopback port, and what must be ended when it is not needed any more."""
        if self.whole is None:
            return f"{os.environ['FOOTPLATE_TEST_SERVICE']}:{port}", None
        return self.whole.reach(port)

    def need(self, engine: str) -> None:
        """Have an engine run; on a cluster that was there it is expected to."""
        if self.whole is not None and engine in CONTROLLERS:
            self.whole.engines.start(CONTROLLERS[engine])


@pytest.fixture(scope="session")
def place() -> Iterator[Place]:
    """The cluster of this session."""
    if KUBECONFIG:
        yield Place(KUBECONFIG)
        return
    with whole_cluster() as whole:
        yield Place(whole.plane.kubeconfig, whole)


@dataclass
class Cluster:
    """The service under test, the cluster behind it, and a person who uses it."""

    data: Path
    engine: str
    namespace: str
    port: int
    api: ClusterApi
    kubeconfig: str
    service: str  # host and port, as pods find them
    more: dict[str, Any] = field(default_factory=dict)  # settings
    claims: dict[str, str] = field(default_factory=dict)  # behind volumes
    relay: subprocess.Popen[bytes] | None = None  # through which pods reach the service, if not directly
    _server: uvicorn.Server | None = None
    _task: asyncio.Task[None] | None = None
    jobs: list[str] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        url = f"http://127.0.0.1:{self.port}{PREFIX}"
        kubernetes = {
            "kubeconfig": self.kubeconfig,
            "namespace": self.namespace,
            "image": IMAGE,
            "service": f"http://{self.service}{PREFIX}",
            "volumes": self.claims,
        }
        cluster = {"name": "kube", "engine": self.engine, "kubernetes": kubernetes}
        return Settings(
            data=self.data,
            url=url,
            bind_port=self.port,
            limits={"disk_free": 0},
            clusters=[cluster],
            **self.more,
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
            assert time.monotonic() < deadline, (
                f"{seen['state']}: {seen['reason']}, {[a['replicas'] for a in seen['attempts']][-1:]}"
            )
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

    async def delete_pods(self, job: str, grace: int, *, first: bool = False) -> None:
        """Delete them; ``first``: only the first replica's."""
        for pod in await self.pods(job):
            if first and index_of(pod) != 0:
                continue
            await self.api.delete(f"{self._pods}/{pod['metadata']['name']}", gracePeriodSeconds=grace)

    @property
    def _pods(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"


@pytest.fixture(params=ENGINES)
async def cluster(request: pytest.FixtureRequest, place: Place, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A service on one engine, in a namespace of its own."""
    async with cluster_with(place, request.param, tmp_path) as running:
        yield running


@pytest.fixture
async def plain(place: Place, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A service on plain Kubernetes."""
    async with cluster_with(place, "kubernetes", tmp_path) as running:
        yield running


@contextlib.asynccontextmanager
async def cluster_with(
    place: Place, engine: str, folder: Path, claims: dict[str, str] | None = None, **more: Any
) -> AsyncIterator[Cluster]:
    """A service on one engine, in a namespace of its own, with further settings."""
    place.need(engine)
    namespace = f"fp-{secrets.token_hex(4)}"
    reach = KubernetesSettings(kubeconfig=Path(place.kubeconfig), image=IMAGE, namespace=namespace)
    api = ClusterApi(reach)
    await api.connect()
    await api.create("/api/v1/namespaces", {"apiVersion": "v1", "metadata": {"name": namespace}})
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    data = folder / "data"
    data.mkdir(mode=0o700)
    service, relay = place.reach(port)
    running = Cluster(
        data, engine, namespace, port, api, place.kubeconfig, service, more, claims or {}, relay
    )
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

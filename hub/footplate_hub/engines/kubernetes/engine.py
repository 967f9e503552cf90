"""The Kubernetes engine: an attempt is a few objects named after it, owned by one of them.

It holds nothing that it could not find again: objects say what was started, pods say what lives.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from footplate_agent import zipapp
from footplate_hub.settings import ClusterSettings, Settings
from footplate_hub.tokens import ReplicaId, ReplicaTokens
from footplate_spec import CauseCode, Node

from ..base import Attempt, EngineError, NodesChanged, Observation, PlacedReplica
from . import names
from .api import ApiError, ClusterApi, Gone, Manifest
from .informer import Informer
from .nodes import node_of
from .pods import ended, index_of, observation
from .render import Context, render, render_again

__all__ = ["KubernetesEngine"]

log = logging.getLogger(__name__)
_MOST_AGAIN = 20  # pods of one execution
_LOOK_AGAIN = 0.2  # seconds, where the watch should have told
_PLACES = {
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps",
    "Secret": "/api/v1/namespaces/{namespace}/secrets",
    "Service": "/api/v1/namespaces/{namespace}/services",
    "Job": "/apis/batch/v1/namespaces/{namespace}/jobs",
}


class KubernetesEngine:
    """One cluster.

    Parameters
    ----------
    tokens
        Mints what replicas prove themselves with.
    """

    def __init__(self, settings: Settings, cluster: ClusterSettings, tokens: ReplicaTokens) -> None:
        assert cluster.kubernetes is not None
        self._settings, self._cluster, self._tokens = settings, cluster, tokens
        self._reach = cluster.kubernetes
        self._api = ClusterApi(self._reach)
        self._seen: asyncio.Queue[Observation | NodesChanged] = asyncio.Queue()
        namespace = self._reach.namespace
        pods = f"/api/v1/namespaces/{namespace}/pods"
        self._pods = Informer(self._api, pods, self._pod_changed, names.SELECTOR)
        self._nodes = Informer(self._api, "/api/v1/nodes", self._node_changed)
        self._known: dict[str, Node] = {}
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._agent = ""

    async def start(self) -> None:
        """Connect, and see what is there.

        Raises
        ------
        EngineError
            If the cluster cannot be used as it is configured.
        """
        await self._api.connect()
        try:
            self._agent = await self._ship_agent()
            await self._nodes.sync()
            await self._pods.sync()
        except (ApiError, Gone) as error:
            raise EngineError(f"Cluster {self._cluster.name} cannot be used: {error}.") from error
        self._tasks = [asyncio.create_task(informer.run()) for informer in (self._nodes, self._pods)]

    async def stop(self) -> None:
        """Let go; pods run on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._api.close()

    async def nodes(self) -> Sequence[Node]:
        """The cluster's nodes."""
        return list(self._known.values())

    async def apply(self, attempt: Attempt) -> None:
        """Create what is not there: all of it, or the pod of a replica that is to run again."""
        context = Context(
            settings=self._reach,
            agent=self._agent,
            service=self._reach.service or self._settings.url,
            tokens={
                (role.name, index): self._tokens.mint(ReplicaId(attempt.id, role.name, index))
                for role in attempt.spec.roles
                for index in range(role.replicas)
            },
            indexes=self._settings.indexes.model_dump(mode="json"),
            log_limit=self._settings.limits.log,
        )
        first, *rest = render(attempt, context)
        try:
            owner = await self._api.create(self._place(first), first)
            if owner is None:
                owner = await self._api.get(f"{self._place(first)}/{first['metadata']['name']}")
            reference = {
                "apiVersion": first["apiVersion"],
                "kind": first["kind"],
                "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"],
            }
            for manifest in rest:
                await self._create_for(reference, manifest)
            for replica in attempt.replicas:
                if replica.execution > 1 or self._pods_of(attempt.id, replica):
                    await self._make_again(attempt, replica, context, reference)
        except (ApiError, Gone) as error:
            again = not isinstance(error, ApiError) or error.status not in {400, 403, 404, 413, 422}
            raise EngineError(
                f"Cluster {self._cluster.name} did not take the job: {error}.",
                code=CauseCode.PLATFORM_FAULT,
                again=again,
            ) from error

    async def _create_for(self, owner: Manifest, manifest: Manifest) -> Manifest | None:
        manifest["metadata"]["ownerReferences"] = [owner]
        return await self._api.create(self._place(manifest), manifest)

    async def _make_again(
        self, attempt: Attempt, replica: PlacedReplica, context: Context, owner: Manifest
    ) -> None:
        """Give a replica another pod, if all that it had have ended."""
        for number in range(_MOST_AGAIN):
            if any(not ended(pod) for pod in self._pods_of(attempt.id, replica)):
                return
            manifest = render_again(attempt, replica, context, number)
            if await self._create_for(owner, manifest) is not None:
                return
            job = await self._api.get(f"{self._place(manifest)}/{manifest['metadata']['name']}")
            if not job.get("status", {}).get("failed"):
                return  # its pod is on its way

    async def delete(self, attempt: Attempt, *, patience: float = 10.0) -> None:
        """Let its pods end, delete what it is made of, and wait until no pod is left."""
        end = asyncio.get_running_loop().time() + patience
        while self._living(attempt.id) and (left := end - asyncio.get_running_loop().time()) > 0:
            await self._change(left)
        try:
            for pod in self._living(attempt.id):
                await self._api.delete(self._path_of(pod), gracePeriodSeconds=0)
            await self._api.delete(f"{self._place({'kind': 'ConfigMap'})}/{names.object_name(attempt.id)}")
        except (ApiError, Gone) as error:
            raise EngineError(
                f"Cluster {self._cluster.name} did not remove {attempt.id}: {error}."
            ) from error
        while self._living(attempt.id):
            await self._change(_LOOK_AGAIN)

    async def gone(self, holder: str) -> bool:
        """Whether a pod has ended or is no more, by the server's own word where the copy does not have it."""
        pod = self._pods.items.get(holder)
        if pod is not None:
            return ended(pod)
        try:
            await self._pods.sync()
        except (ApiError, Gone):
            return False
        pod = self._pods.items.get(holder)
        return pod is None or ended(pod)

    async def observe(self) -> AsyncIterator[Observation | NodesChanged]:
        """Pods that are there, then every change of them and of nodes."""
        while True:
            yield await self._seen.get()

    def _pod_changed(self, before: Manifest | None, after: Manifest | None) -> None:
        self._changed.set()
        pod = after or before
        assert pod is not None
        told = observation(pod, deleted=after is None)
        if told is not None and (
            before is None or after is None or told != observation(before, deleted=False)
        ):
            self._seen.put_nowait(told)

    def _node_changed(self, before: Manifest | None, after: Manifest | None) -> None:
        manifest = after or before
        assert manifest is not None
        name = manifest["metadata"]["name"]
        node = node_of(manifest, self._cluster) if after is not None else None
        if node == self._known.get(name):
            return  # a heartbeat
        if node is None:
            del self._known[name]
        else:
            self._known[name] = node
        self._seen.put_nowait(NodesChanged())

    def _pods_of(self, attempt: str, replica: PlacedReplica) -> list[Manifest]:
        return [
            pod
            for pod in self._pods.items.values()
            if pod["metadata"]["labels"].get(names.ATTEMPT) == attempt
            and pod["metadata"]["labels"].get(names.ROLE) == replica.role
            and index_of(pod) == replica.index
        ]

    def _living(self, attempt: str) -> list[Manifest]:
        return [
            pod
            for pod in self._pods.items.values()
            if pod["metadata"]["labels"].get(names.ATTEMPT) == attempt and not ended(pod)
        ]

    async def _change(self, seconds: float) -> None:
        self._changed.clear()
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except TimeoutError:
            return

    def _place(self, manifest: Manifest) -> str:
        return _PLACES[manifest["kind"]].format(namespace=self._reach.namespace)

    def _path_of(self, pod: Manifest) -> str:
        return f"/api/v1/namespaces/{self._reach.namespace}/pods/{pod['metadata']['name']}"

    async def _ship_agent(self) -> str:
        """Have the agent in the namespace, under a name that says which one it is."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "agent.pyz"
            await asyncio.to_thread(zipapp.build, str(file))
            data = file.read_bytes()
        name = f"footplate-agent-{hashlib.sha256(data).hexdigest()[:12]}"
        manifest = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {names.MANAGED: "footplate"}},
            "immutable": True,
            "binaryData": {"agent.pyz": base64.b64encode(data).decode()},
        }
        await self._api.create(self._place(manifest), manifest)
        return name

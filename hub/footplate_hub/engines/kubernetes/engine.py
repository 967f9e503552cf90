"""The Kubernetes engine: an attempt is a few objects named after it, owned by one of them.

It holds nothing that it could not find again: objects say what was started, pods say what lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Coroutine, Sequence
from typing import Any

from footplate_hub.settings import ClusterSettings, Settings
from footplate_hub.tokens import ReplicaId, ReplicaTokens
from footplate_spec import Node

from ..base import Attempt, Complaint, EngineError, NodesChanged, Observation, PlacedReplica
from . import names, warnings
from .api import ApiError, ClusterApi, Gone
from .ends import LOOK_AGAIN, Ends
from .informer import Informer
from .manifest import Manifest
from .nodes import node_of
from .podindex import PodIndex
from .pods import ended, index_of, kept, observation, surely_ended
from .refusals import refusal
from .render import GANGS, KINDS, Context, render, render_again
from .shipping import Shipping

__all__ = ["KubernetesEngine"]

log = logging.getLogger(__name__)
_MOST_AGAIN = 20  # pods of one execution
_SOON = 1  # seconds that a kubelet gives what is killed; not 0, which would not wait for the kubelet's word
_NOT_TOLD = 0.2  # seconds after which the pods are looked at again, where the watch should have told


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
        self._reach, self._kind = cluster.kubernetes, KINDS[cluster.engine]
        self._api = ClusterApi(self._reach)
        self._seen: asyncio.Queue[Observation | Complaint | NodesChanged] = asyncio.Queue()
        self._pods = [
            Informer(
                self._api, f"/api/v1/namespaces/{name}/pods", self._pod_changed, names.SELECTOR, keep=kept
            )
            for name in self._reach.all_namespaces
        ]
        self._warnings = [
            Informer(self._api, f"/api/v1/namespaces/{name}/events", self._warned, fields=warnings.SELECTOR)
            for name in self._reach.all_namespaces
        ]
        self._index = PodIndex()
        self._made: dict[str, tuple[str, str | None]] = {}  # attempt and role of each object by its name
        self._made_of: defaultdict[str, set[str]] = defaultdict(set)  # names by attempt
        self._nodes = Informer(self._api, "/api/v1/nodes", self._node_changed)
        self._known: dict[str, Node] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._agent = Shipping(self._api)
        self._gangs: bool | None = None  # whether the server has groups of pods
        self._discovering = asyncio.Lock()
        self._changing: dict[str, asyncio.Lock] = {}  # by attempt: it is made or removed, not both at once
        self._deleting: set[str] = set()
        self._ends = Ends(self._api, lambda node: node in self._known)
        self._unsure: defaultdict[str, set[str]] = defaultdict(set)  # by attempt: pods that may live unseen

    async def start(self) -> None:
        """Connect, and see what is there. A cluster that does not answer now is looked for until it does.

        Raises
        ------
        EngineError
            If there is no way to it in the configuration.
        """
        await self._api.connect()
        try:
            await self._nodes.sync()
            for pods in self._pods:
                await pods.sync()
        except (ApiError, Gone) as error:
            log.warning("cluster %s cannot be used yet: %s", self._cluster.name, error)
        for informer in (self._nodes, *self._pods, *self._warnings):
            self._spawn(informer.run())

    async def stop(self) -> None:
        """Let go; pods run on."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._api.close()

    async def nodes(self) -> Sequence[Node]:
        """The cluster's nodes."""
        return list(self._known.values())

    async def apply(self, attempt: Attempt) -> None:
        """Create what is not there: all of it, or the pod of a replica that is to run again.

        Pods are made last, so where each replica has one nothing is missing, and the server is not asked: so
        it is with nearly all after a restart of the service.
        """
        if attempt.id in self._deleting:
            return
        async with self._changing.setdefault(attempt.id, asyncio.Lock()):
            if attempt.id not in self._deleting and not self._has_pods(attempt):
                await self._apply(attempt)

    async def _apply(self, attempt: Attempt) -> None:
        for mount in attempt.spec.mounts:
            if mount.volume not in self._reach.volumes:
                raise EngineError(
                    f"Cluster {self._cluster.name} has no volume {mount.volume!r} any more.", again=False
                )
        namespace = self._namespace(attempt)
        try:
            agent = await self._agent.ship(namespace)
            async with self._discovering:
                if self._gangs is None:
                    self._gangs = await self._api.serves(GANGS)
        except (ApiError, Gone) as error:
            raise refusal(error, self._cluster.name, namespace) from error
        context = Context(
            settings=self._reach,
            agent=agent,
            service=self._reach.service or self._settings.url,
            tokens={
                (role.name, index): self._tokens.mint(ReplicaId(attempt.id, role.name, index))
                for role in attempt.spec.roles
                for index in range(role.fewest)
            },
            indexes=self._settings.indexes.model_dump(mode="json"),
            log_limit=self._settings.limits.log,
            gangs=self._gangs,
        )
        first, *rest = render(attempt, context, self._kind)
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
                if attempt.id in self._deleting:
                    return
                await self._create_for(reference, manifest)
            for replica in attempt.replicas:
                if replica.execution > 1 or self._pods_of(attempt.id, replica):
                    await self._make_again(attempt, replica, context, reference)
        except (ApiError, Gone) as error:
            raise refusal(error, self._cluster.name, namespace) from error

    async def _create_for(self, owner: Manifest, manifest: Manifest) -> Manifest | None:
        meta = manifest["metadata"]
        meta["ownerReferences"] = [owner]
        attempt = meta["labels"][names.ATTEMPT]
        self._made[meta["name"]] = (attempt, meta["labels"].get(names.ROLE))
        self._made_of[attempt].add(meta["name"])
        return await self._api.create(self._place(manifest), manifest)

    async def _make_again(
        self, attempt: Attempt, replica: PlacedReplica, context: Context, owner: Manifest
    ) -> None:
        """Give a replica another pod, if all that it had have ended."""
        for number in range(_MOST_AGAIN):
            if any(not self._has_ended(pod) for pod in self._pods_of(attempt.id, replica)):
                return
            manifest = render_again(attempt, replica, context, self._kind, number)
            if await self._create_for(owner, manifest) is not None:
                return
            job = await self._api.get(f"{self._place(manifest)}/{manifest['metadata']['name']}")
            if not self._kind.over(job):
                return  # its pod is on its way

    async def delete(self, attempt: Attempt, *, patience: float = 10.0) -> None:
        """Let its pods end, delete what it is made of, and wait until no pod is left."""
        self._deleting.add(attempt.id)
        try:
            # What is being made of it just now would outlive what owns it.
            async with self._changing.setdefault(attempt.id, asyncio.Lock()):
                await self._delete(attempt, patience)
            self._changing.pop(attempt.id, None)
        finally:
            self._deleting.discard(attempt.id)

    async def _delete(self, attempt: Attempt, patience: float) -> None:
        end = asyncio.get_running_loop().time() + patience
        while self._living(attempt.id) and (left := end - asyncio.get_running_loop().time()) > 0:
            await self._index.change(attempt.id, left)
        try:
            for pod in self._living(attempt.id):
                await self._api.delete(self._path_of(pod), gracePeriodSeconds=_SOON)
            root = names.object_name(attempt.id)
            await self._api.delete(f"/api/v1/namespaces/{self._namespace(attempt)}/configmaps/{root}")
        except (ApiError, Gone) as error:
            raise EngineError(
                f"Cluster {self._cluster.name} did not remove {attempt.id}: {error}."
            ) from error
        while self._living(attempt.id) or self._unsure.get(attempt.id):
            await self._index.change(attempt.id, _NOT_TOLD)
        self._index.forget(attempt.id)
        for name in self._made_of.pop(attempt.id, ()):
            self._made.pop(name, None)

    async def kept(self) -> Collection[str]:
        """Nothing: what is on a claim is seen by pods alone, and stays until its owner removes it."""
        return ()

    async def forget(self, job: str, owner: str) -> None:
        """As in `kept`."""

    async def gone(self, holder: str, node: str) -> bool:
        """Whether a pod has ended, or was taken away and its node has spoken long enough after that."""
        pod = self._index.get(holder)
        if pod is None and holder not in self._ends:
            with contextlib.suppress(ApiError, Gone):
                for pods in self._pods:
                    await pods.sync()
            pod = self._index.get(holder)
        return self._has_ended(pod) if pod is not None else await self._ends.certain(holder, node)

    def fence(self, holder: str) -> None:
        """Regard a pod as ended. Its object is left to Kubernetes, whose kubelet may come back."""
        self._ends.note(holder)

    async def observe(self) -> AsyncIterator[Observation | Complaint | NodesChanged]:
        """Pods that are there, then every change of them and of nodes."""
        while True:
            yield await self._seen.get()

    def _pod_changed(self, before: Manifest | None, after: Manifest | None) -> None:
        self._index.take(before, after)
        pod = after or before
        assert pod is not None
        if after is None and surely_ended(pod):
            self._ends.note(pod["metadata"]["uid"])
        elif after is None and pod["metadata"]["uid"] not in self._ends:
            self._spawn(self._make_certain(pod))
            return
        told, before_told = observation(pod, deleted=after is None), None
        if before is not None:
            before_told = observation(before, deleted=False)
        if told is not None and told != before_told and (before_told is None or before_told.alive):
            self._seen.put_nowait(told)

    def _warned(self, _: Manifest | None, after: Manifest | None) -> None:
        told = warnings.complaint(after) if after is not None else None
        found = warnings.whose(told[0], self._made) if told is not None else None
        if told is not None and found is not None:
            self._seen.put_nowait(Complaint(*found, told[1]))

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

    async def _make_certain(self, pod: Manifest) -> None:
        """Tell of a pod's end once nothing of it can live any more."""
        uid, node = pod["metadata"]["uid"], pod["spec"]["nodeName"]
        attempt = (pod["metadata"].get("labels") or {}).get(names.ATTEMPT, "")
        self._unsure[attempt].add(uid)
        while not await self._ends.certain(uid, node):  # noqa: ASYNC110 - leases are renewed, not told
            await asyncio.sleep(LOOK_AGAIN)
        self._unsure[attempt].discard(uid)
        if not self._unsure[attempt]:
            del self._unsure[attempt]
        self._index.stir(attempt)
        told = observation(pod, deleted=True)
        if told is not None:
            self._seen.put_nowait(told)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)

    def _namespace(self, attempt: Attempt) -> str:
        namespace = self._reach.namespace_of(attempt.group)
        if namespace is None:
            raise EngineError(
                f"Cluster {self._cluster.name} has no namespace for group {attempt.group} any more.",
                again=False,
            )
        return namespace

    def _pods_of(self, attempt: str, replica: PlacedReplica) -> list[Manifest]:
        return [
            pod
            for pod in self._index.of(attempt)
            if pod["metadata"]["labels"].get(names.ROLE) == replica.role and index_of(pod) == replica.index
        ]

    def _has_pods(self, attempt: Attempt) -> bool:
        living = {(p["metadata"]["labels"].get(names.ROLE), index_of(p)) for p in self._living(attempt.id)}
        return all((replica.role, replica.index) in living for replica in attempt.replicas)

    def _living(self, attempt: str) -> list[Manifest]:
        return [pod for pod in self._index.of(attempt) if not self._has_ended(pod)]

    def _has_ended(self, pod: Manifest) -> bool:
        return ended(pod) or pod["metadata"]["uid"] in self._ends

    def _place(self, manifest: Manifest) -> str:
        version = manifest["apiVersion"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        return f"{root}/namespaces/{manifest['metadata']['namespace']}/{manifest['kind'].lower()}s"

    def _path_of(self, pod: Manifest) -> str:
        meta = pod["metadata"]
        return f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"

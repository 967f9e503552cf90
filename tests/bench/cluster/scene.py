"""A platform whose only cluster is a real API server with KWOK's nodes, and who is asked beside it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.harness import tools
from cluster.harness.whole import Whole, fake_cluster
from footplate_hub.engines.kubernetes.api import ClusterApi, Gone
from footplate_hub.settings import KubernetesSettings
from support.platform import Platform, platform

__all__ = ["NAMESPACE", "Scene", "Watcher", "absent", "cluster_alone", "platform_on", "scene"]

NAMESPACE = "bench"
_SETTINGS = """\
clusters:
  - name: kube
    engine: kubernetes
    kubernetes:
      kubeconfig: {kubeconfig}
      namespace: {namespace}
      image: localhost/python:3.11
"""


def absent() -> str:
    """Why there can be no such cluster here, if so."""
    return tools.missing() or (
        "" if shutil.which("go") else "KWOK's stages lie in its module, which needs Go"
    )


@dataclass(frozen=True)
class Scene:
    """What runs."""

    whole: Whole
    platform: Platform


@contextlib.contextmanager
def cluster_alone(nodes: int, gpus: int = 8) -> Iterator[Whole]:
    """A cluster of so many nodes with the namespace for jobs."""
    with fake_cluster(nodes, gpus) as whole:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        whole.plane.api("POST", "/api/v1/namespaces", namespace)
        yield whole


@contextlib.contextmanager
def platform_on(kubeconfig: str) -> Iterator[Platform]:
    """A platform that uses a cluster."""
    with platform(_SETTINGS.format(kubeconfig=kubeconfig, namespace=NAMESPACE)) as running:
        yield running


@contextlib.contextmanager
def scene(nodes: int) -> Iterator[Scene]:
    """A cluster of so many nodes, and a platform that uses it."""
    with cluster_alone(nodes) as whole, platform_on(whole.plane.kubeconfig) as running:
        yield Scene(whole, running)


class Watcher:
    """Sees each change of a kind as the API server tells it, on a thread of its own.

    Parameters
    ----------
    told
        Called with the time, the type of the change and the object.
    """

    def __init__(self, kubeconfig: str, path: str, told: Callable[[float, str, Any], None]) -> None:
        self._kubeconfig, self._path, self._told = kubeconfig, path, told
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def _run(self) -> None:
        self._task = self._loop.create_task(self._watch())
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)
        self._loop.close()

    async def _watch(self) -> None:
        api = ClusterApi(KubernetesSettings(kubeconfig=Path(self._kubeconfig), image="none"))
        await api.connect()
        try:
            _, version = await api.list(self._path)
            self._ready.set()
            while True:
                with contextlib.suppress(Gone):
                    async for kind, item in api.watch(self._path, version):
                        version = item["metadata"]["resourceVersion"]
                        if kind != "BOOKMARK":
                            self._told(time.time(), kind, item)
        finally:
            await api.close()

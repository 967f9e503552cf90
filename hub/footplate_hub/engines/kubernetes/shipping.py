"""The agent in a namespace: a ConfigMap that pods there mount; its name says which agent it is."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import tempfile
from pathlib import Path

from footplate_agent import zipapp

from . import names
from .api import ClusterApi

__all__ = ["Shipping"]


class Shipping:
    """The agent of this service in a cluster's namespaces."""

    def __init__(self, api: ClusterApi) -> None:
        self._api = api
        self._archive = b""
        self._there: set[str] = set()
        self._lock = asyncio.Lock()  # hundreds of attempts may ask at once

    async def ship(self, namespace: str) -> str:
        """Have the agent there; the name of its ConfigMap.

        Raises
        ------
        ApiError
            If the cluster does not take it.
        """
        async with self._lock:
            return await self._ship(namespace)

    async def _ship(self, namespace: str) -> str:
        if not self._archive:
            self._archive = await asyncio.to_thread(_archive)
        name = f"footplate-agent-{hashlib.sha256(self._archive).hexdigest()[:12]}"
        if namespace not in self._there:
            manifest = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name, "labels": {names.MANAGED: "footplate"}},
                "immutable": True,
                "binaryData": {"agent.pyz": base64.b64encode(self._archive).decode()},
            }
            await self._api.create(f"/api/v1/namespaces/{namespace}/configmaps", manifest)
            self._there.add(namespace)
        return name


def _archive() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "agent.pyz"
        zipapp.build(str(file))
        return file.read_bytes()

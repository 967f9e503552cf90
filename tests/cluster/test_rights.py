"""The service with exactly the rights that ``helm/rbac.yaml`` gives it, and with none."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.conftest import Cluster, Place
from cluster.test_engines import SECOND
from footplate_hub.engines.kubernetes.api import ClusterApi

RIGHTS = Path(__file__).parents[2] / "helm" / "rbac.yaml"


def rights(namespace: str, user: str) -> list[dict[str, Any]]:
    """The file's objects for a user in a namespace."""
    text = RIGHTS.read_text("utf-8")
    found = [one for one in yaml.safe_load_all(text) if one["kind"] != "ServiceAccount"]
    for one in found:
        meta = one["metadata"]
        meta["name"] = user
        if meta.get("namespace") == "footplate":
            meta["namespace"] = namespace
        if "subjects" in one:
            one["subjects"] = [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]
            one["roleRef"]["name"] = user
    return found


def path_of(manifest: dict[str, Any]) -> str:
    where = manifest["metadata"].get("namespace")
    inside = f"/namespaces/{where}" if where else ""
    return f"/apis/{manifest['apiVersion']}{inside}/{manifest['kind'].lower()}s"


async def test_the_rights_of_the_file_are_enough(cluster: Cluster, place: Place) -> None:
    if place.whole is None:
        pytest.skip("the cluster that is there lets us make no users")
    user = f"footplate-{secrets.token_hex(4)}"
    authority, server = place.whole.plane.authority, server_of(cluster.api)
    await cluster.stop()
    cluster.kubeconfig = authority.kubeconfig(user, user, "", server)
    await cluster.start()
    job = await cluster.submit(SECOND, role={"replicas": 2}, recovery={"max_restarts": 2})
    seen = await cluster.until(job, lambda seen: bool(seen["reason"]) or bool(seen["attempts"]), patience=20)
    assert not seen["attempts"], "without any rights nobody sees the nodes"
    made = rights(cluster.namespace, user)
    try:
        for manifest in made:
            await cluster.api.create(path_of(manifest), manifest)
        await cluster.running(job)
        await cluster.delete_pods(job, grace=0, first=True)  # its node's lease is asked, and it is made again
        assert (await cluster.ended(job))["state"] == "succeeded"
        cancelled = await cluster.submit("import time; time.sleep(600)")
        await cluster.running(cancelled)
        async with cluster.client() as client:
            await client.post(f"jobs/{cancelled}/cancel")
        assert (await cluster.ended(cancelled))["state"] == "cancelled"
    finally:
        for manifest in made:
            await cluster.api.delete(f"{path_of(manifest)}/{user}")


def server_of(api: ClusterApi) -> str:
    assert api._client is not None
    return str(api._client.configuration.host)

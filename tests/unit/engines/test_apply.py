"""What the Kubernetes engine asks of a server to have an attempt run, where its pods are there already."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from footplate_hub.engines.kubernetes import names
from footplate_hub.engines.kubernetes.engine import KubernetesEngine
from footplate_hub.settings import Settings
from footplate_hub.tokens import ReplicaTokens
from support.attempts import attempt

ATTEMPT = attempt(roles=[{"replicas": 2}])


class AskedError(Exception):
    """The server was asked."""


class Server:
    def __getattr__(self, name):
        async def ask(*_, **__):
            raise AskedError

        return ask


def pod(index: int, phase: str = "Running") -> dict:
    labels = {names.ATTEMPT: ATTEMPT.id, names.ROLE: "worker"}
    annotations = {"batch.kubernetes.io/job-completion-index": str(index)}
    meta = {"uid": f"u{index}", "labels": labels, "annotations": annotations}
    return {"metadata": meta, "spec": {"nodeName": "n1"}, "status": {"phase": phase}}


@pytest.fixture
def engine(tmp_path):
    kube = {"name": "kube", "engine": "kubernetes", "kubernetes": {"image": "py:3.11"}}
    settings = Settings(data=tmp_path, clusters=[kube])
    made = KubernetesEngine(settings, settings.clusters[0], ReplicaTokens(tmp_path / "replicas.key"))
    made._api = made._agent._api = Server()
    return made


async def test_nothing_where_each_replica_has_its_pod(engine):
    for index in (0, 1):
        engine._pod_changed(None, pod(index))
    await engine.apply(ATTEMPT)


@pytest.mark.parametrize("there", [[], [pod(0)], [pod(0), pod(1, "Failed")]])
async def test_all_of_it_where_one_has_none_that_lives(engine, there):
    for one in there:
        engine._pod_changed(None, one)
    with pytest.raises(AskedError):
        await engine.apply(ATTEMPT)


class Slow:
    """A server that takes its time for what is created, and tells what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.asked_once, self.go_on = asyncio.Event(), asyncio.Event()

    async def serves(self, version):
        return False

    async def create(self, path, manifest):
        self.asked.append(f"create {manifest['metadata']['name']}")
        self.asked_once.set()
        await self.go_on.wait()
        return {"metadata": {**manifest["metadata"], "uid": "u"}}

    async def delete(self, path, **options):
        self.asked.append(f"delete {path.rpartition('/')[2]}")


async def test_what_is_being_made_is_removed_after_the_last_of_it(engine):
    server = engine._api = engine._agent._api = Slow()
    applying = asyncio.create_task(engine.apply(ATTEMPT))
    await asyncio.wait_for(server.asked_once.wait(), 20)
    deleting = asyncio.create_task(engine.delete(ATTEMPT, patience=0))
    await asyncio.sleep(0)
    late = asyncio.create_task(engine.apply(ATTEMPT))
    server.go_on.set()
    await asyncio.gather(applying, deleting, late)
    name = names.object_name(ATTEMPT.id)
    assert server.asked[1:] == [f"create {name}", f"delete {name}"]  # the first was the agent's


class Removing(Slow):
    """A server that removes pods when told, whether their kubelet has ended them or not."""

    def __init__(self) -> None:
        super().__init__()
        self.spoke = datetime.now(UTC) - timedelta(days=1)

    async def get(self, path):
        return {"spec": {"renewTime": self.spoke.isoformat()}}


async def test_it_is_not_removed_before_its_pods_are_surely_dead(engine, monkeypatch):
    monkeypatch.setattr("footplate_hub.engines.kubernetes.engine.LOOK_AGAIN", 0.01)
    monkeypatch.setattr("footplate_hub.engines.kubernetes.ends.LOOK_AGAIN", 0.0)
    server = engine._api = engine._ends._api = Removing()
    engine._known = {"n1": None}
    runs = pod(0)
    runs["metadata"] |= {"name": "p0", "namespace": "footplate"}
    runs["status"]["containerStatuses"] = [{"state": {"running": {}}}]
    engine._pod_changed(None, runs)
    deleting = asyncio.create_task(engine.delete(ATTEMPT, patience=0))
    await asyncio.sleep(0.05)
    assert server.asked == ["delete p0", f"delete {names.object_name(ATTEMPT.id)}"]
    engine._pod_changed(runs, None)  # somebody forced it
    await asyncio.sleep(0.3)
    assert not deleting.done()
    server.spoke = datetime.now(UTC) + timedelta(minutes=1)
    await asyncio.wait_for(deleting, 20)


async def test_a_fenced_pod_is_dead_whatever_the_cluster_says(engine):
    for index in (0, 1):
        engine._pod_changed(None, pod(index))
    engine.fence("u1")
    assert await engine.gone("u1", "n1")
    with pytest.raises(AskedError):  # another is to be made
        await engine.apply(ATTEMPT)

"""What the Kubernetes engine asks of a server to have an attempt run, where its pods are there already."""

from __future__ import annotations

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

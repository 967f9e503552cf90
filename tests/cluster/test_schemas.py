"""What every engine renders is what its project's schemas take, and what a server takes, strictly."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest

from cluster.harness import schemas
from cluster.harness.tools import program
from footplate_hub.engines import PlacedReplica
from footplate_hub.engines.kubernetes.render import KINDS, render, render_again
from support.attempts import attempt, context

HCA = {"rdma/hca": 1}
FULL = {
    "roles": [
        {"name": "master", "resources": {"cpu": "50m", "memory": "64Mi", "shm": "16Mi", "extended": HCA}},
        {
            "name": "worker",
            "replicas": 2,
            "image": "its:2",
            "resources": {"gpu": 2, "memory": "1Gi", "extended": HCA},
        },
    ],
    "env": {"A": "1"},
    "mounts": [{"volume": "scratch", "path": "/scratch"}],
    "priority": "high",
    "placement": {
        "labels": {"team": "vision"},
        "annotations": {"note": "by hand"},
        "tolerations": [{"key": "team", "value": "vision", "effect": "NoSchedule"}],
    },
}
TERM = {"topologyKey": "rack", "labelSelector": {"matchLabels": {"noisy": "yes"}}}
SETTINGS = {
    "checkpoints": {"claim": "checkpoints"},
    "volumes": {"scratch": "scratch-claim"},
    "tolerations": [{"key": "gpu"}],
    "priority_classes": {"high": "system-cluster-critical"},
    "pull_secrets": ["registry"],
    "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [TERM]}},
    "topology_spread": [{"topology_key": "rack"}],
}


def made(engine: str, namespace: str = "jobs") -> list[dict]:
    of = attempt(**FULL)
    again = PlacedReplica("worker", 1, "n2", execution=2)
    with_all = replace(context(of, **SETTINGS, namespace=namespace), gangs=True)
    return [*render(of, with_all, KINDS[engine]), render_again(of, again, with_all, KINDS[engine], 0)]


@pytest.mark.parametrize("engine", sorted(KINDS))
def test_schemas_take_what_is_rendered(engine):
    for manifest in made(engine):
        assert schemas.wrong(manifest) == [], manifest["kind"]


@pytest.mark.parametrize("engine", ["kubeflow-v1", "kubedl"])
def test_schemas_take_tfjobs(engine):
    of = attempt(**{**FULL, "roles": [{"name": "chief"}, {"name": "ps"}, {"replicas": 2}]})
    *_, job = render(of, context(of, **SETTINGS), KINDS[engine])
    assert (job["kind"], schemas.wrong(job)) == ("TFJob", [])


@pytest.mark.parametrize("engine", sorted(KINDS))
def test_a_field_that_does_not_exist_is_found(engine):
    for manifest in made(engine):
        if "spec" in manifest:
            manifest["spec"]["replicaz"] = 1
            assert any("replicaz" in said for said in schemas.wrong(manifest)), manifest["kind"]


def test_a_server_takes_what_is_rendered(cluster):
    for manifest in made(cluster.engine, cluster.namespace):
        create(cluster, manifest, "--dry-run=server")
        create(cluster, manifest)  # some name others, which must be there


def create(cluster, manifest: dict, *words: str) -> None:
    command = [program("kubernetes", "kubectl"), "--kubeconfig", cluster.kubeconfig, "-n", cluster.namespace]
    done = subprocess.run(
        [*command, "create", "--validate=strict", *words, "-f", "-"],
        check=False, input=json.dumps(manifest), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

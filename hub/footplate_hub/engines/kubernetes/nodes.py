"""Kubernetes nodes as the queue sees them. Pure."""

from __future__ import annotations

import re

from footplate_hub.settings import ClusterSettings
from footplate_spec import Node
from footplate_spec.units import parse_bytes, parse_cpu

from .manifest import Manifest

__all__ = ["node_of"]

_NOT_A_NAME = re.compile(r"[^a-z0-9]+")
_CLOSED = {"NoSchedule", "NoExecute"}


def node_of(manifest: Manifest, cluster: ClusterSettings) -> Node:
    """What a Node object offers to jobs."""
    assert cluster.kubernetes is not None
    meta, status = manifest["metadata"], manifest.get("status", {})
    labels = meta.get("labels") or {}
    offered = status.get("allocatable") or {}
    addresses = {address["type"]: address["address"] for address in status.get("addresses") or []}
    gpus = int(offered.get(cluster.kubernetes.gpu, 0))
    model = labels.get("nvidia.com/gpu.product")
    return Node(
        cluster=cluster.name,
        name=meta["name"],
        flavor=labels.get(cluster.kubernetes.flavor_label) or _flavor(model if gpus else None),
        cpu=parse_cpu(str(offered.get("cpu", "0"))),
        memory=parse_bytes(str(offered.get("memory", "0"))),
        gpu=gpus,
        gpu_model=model,
        address=addresses.get("InternalIP") or addresses.get("Hostname") or meta["name"],
        labels=labels,
        ready=_ready(manifest),
    )


def _flavor(model: str | None) -> str:
    return _NOT_A_NAME.sub("-", model.lower()).strip("-")[:63] if model else "cpu"


def _ready(manifest: Manifest) -> bool:
    spec = manifest.get("spec", {})
    if spec.get("unschedulable") or any(taint.get("effect") in _CLOSED for taint in spec.get("taints") or []):
        return False
    conditions = manifest.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

"""Kubernetes nodes as the queue sees them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from footplate_hub.settings import ClusterSettings
from footplate_spec import Node, Taint, Toleration, tolerated
from footplate_spec.units import parse_bytes, parse_cpu

from .manifest import Manifest

__all__ = ["node_of"]

_NOT_A_NAME = re.compile(r"[^a-z0-9]+")
_CLOSED = {"NoSchedule", "NoExecute"}
_OF_KUBERNETES = "node.kubernetes.io/"  # what it says itself of a node that has trouble
_CORDONED = Taint(key=f"{_OF_KUBERNETES}unschedulable", effect="NoSchedule")  # what somebody wanted


def node_of(manifest: Manifest, cluster: ClusterSettings) -> Node | None:
    """What a Node object offers to jobs; None if it is not for them."""
    assert cluster.kubernetes is not None
    meta, status = manifest["metadata"], manifest.get("status", {})
    labels = meta.get("labels") or {}
    if not cluster.kubernetes.node_selector.items() <= labels.items():
        return None
    offered = status.get("allocatable") or {}
    addresses = {address["type"]: address["address"] for address in status.get("addresses") or []}
    gpus = int(offered.get(cluster.kubernetes.gpu, 0))
    model = labels.get("nvidia.com/gpu.product")
    taints = _taints(manifest, cluster.kubernetes.tolerations)
    trouble = [t for t in taints if t.key.startswith(_OF_KUBERNETES) and t.key != _CORDONED.key]
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
        taints=[taint for taint in taints if taint not in trouble],
        extended={
            name: int(amount)
            for name, amount in offered.items()
            if "/" in name and name != cluster.kubernetes.gpu and str(amount).isdecimal()
        },
        ready=not trouble and _ready(manifest),
    )


def _flavor(model: str | None) -> str:
    return _NOT_A_NAME.sub("-", model.lower()).strip("-")[:63] if model else "cpu"


def _taints(manifest: Manifest, tolerations: Sequence[Toleration]) -> list[Taint]:
    """Those that keep jobs away which say nothing of them."""
    spec = manifest.get("spec", {})
    found = [Taint.model_validate(taint) for taint in spec.get("taints") or []]
    if spec.get("unschedulable") and all(taint.key != _CORDONED.key for taint in found):
        found.append(_CORDONED)  # its controller is about to
    return [taint for taint in found if taint.effect in _CLOSED and not tolerated(taint, tolerations)]


def _ready(manifest: Manifest) -> bool:
    conditions = manifest.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

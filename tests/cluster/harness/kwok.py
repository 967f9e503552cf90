"""Nodes that are only answered for: KWOK tells their heartbeats, and that their pods run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from .machine import until
from .plane import Plane
from .tools import program, source

__all__ = ["start_kwok"]

_STAGES = "kustomize/stage"
# Not pod/fast/pod-complete: a pod runs until it is deleted.
_FILES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-delete.yaml",
)
_OURS = "kwok.x-k8s.io/node"


def start_kwok(plane: Plane, count: int, gpus: int) -> None:
    """Have nodes ``kwok-0`` and so on, and wait until all are ready."""
    stages = source("kwok", "sigs.k8s.io/kwok") / _STAGES
    config = plane.folder / "kwok.yaml"
    config.write_text("\n---\n".join((stages / file).read_text("utf-8") for file in _FILES), "utf-8")
    plane.machine.start(
        "kwok", program("kwok", "kwok"), f"--kubeconfig={plane.engines}", f"--config={config}",
        "--manage-all-nodes=false", f"--manage-nodes-with-annotation-selector={_OURS}=fake",
        "--cidr=10.128.0.0/9", "--node-lease-duration-seconds=40",
    )  # fmt: skip
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: _add(plane, number, gpus), range(count)))
    until(lambda: _ready(plane) == count, 60 + count * 0.2, f"{count} nodes of KWOK", 1.0)


def _add(plane: Plane, number: int, gpus: int) -> None:
    name = f"kwok-{number}"
    offered = {"cpu": "96", "memory": "1Ti", "pods": "110", "nvidia.com/gpu": str(gpus)}
    labels = {
        "type": "kwok",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
    }
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "annotations": {_OURS: "fake"}, "labels": labels},
        "status": {"capacity": offered, "allocatable": offered},
    }
    plane.api("POST", "/api/v1/nodes", node)


def _ready(plane: Plane) -> int:
    nodes = plane.api("GET", "/api/v1/nodes?resourceVersion=0")["items"]
    return sum(
        any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", []))
        and not node["spec"].get("taints")
        for node in nodes
    )

"""The nodes of Alibaba's spot_gpu trace (clusterdata, cluster-trace-v2026-spot-gpu)."""

from __future__ import annotations

from pathlib import Path

from ..queue.model import Amount, NodeModel
from .table import rows
from .trace import CLUSTER, Trace, TraceError

__all__ = ["looks_like", "read_nodes"]

_COLUMNS = ("node_name", "gpu_model", "gpu_capacity_num", "cpu_num")
_MEMORY_PER_CORE = 8 * 2**30  # the file names no memory


def looks_like(first: str) -> bool:
    """Whether a file with this first line lists spot_gpu's nodes."""
    return "gpu_capacity_num" in first


def read_nodes(file: Path) -> Trace:
    """Nodes; their GPU's model is their flavor."""
    nodes = []
    for row in rows(file, _COLUMNS):
        cores = row.whole("cpu_num")
        capacity = Amount(cores * 1000, cores * _MEMORY_PER_CORE, row.whole("gpu_capacity_num"))
        nodes.append(
            NodeModel(CLUSTER, row.text("node_name"), row.text("gpu_model", "cpu").lower(), capacity)
        )
    if not nodes:
        raise TraceError("has no nodes", file)
    return Trace((), tuple(nodes), notes=("nodes have 8Gi of memory a core: the file names none",))

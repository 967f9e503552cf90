"""The machines that the local engine offers: as ``footplate.yaml`` names them, or this one as it is found."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from footplate_hub.settings import ClusterSettings, NodeSettings
from footplate_spec import Node, slug

from ..base import EngineError

__all__ = ["Device", "LocalNode", "check_nodes", "find_devices", "local_nodes", "machine_memory"]

_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Device:
    """A real GPU."""

    index: int
    model: str


@dataclass(frozen=True)
class LocalNode:
    """A node, and the real devices behind its GPUs; none where they are only declared."""

    node: Node
    devices: tuple[int, ...] = ()


def find_devices() -> list[Device]:
    """The GPUs of this machine, through NVML; none where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            name = pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(index))
            found.append(Device(index, name.decode() if isinstance(name, bytes) else str(name)))
        return found
    finally:
        pynvml.nvmlShutdown()


def machine_memory() -> int:
    """Bytes that processes here may use: the machine's, or what its control group leaves of it."""
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    total = int(re.search(r"^MemTotal:\s+(\d+) kB", text, re.MULTILINE)[1]) * 1024  # type: ignore[index]
    limits = [total]
    for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            names = [_CGROUP / path.lstrip("/") / "memory.max", _CGROUP / "memory.max"]
        elif "memory" in controllers.split(","):
            base = _CGROUP / "memory"
            names = [base / path.lstrip("/") / "memory.limit_in_bytes", base / "memory.limit_in_bytes"]
        else:
            continue
        for name in names:
            try:
                limits.append(int(name.read_text(encoding="ascii")))
            except (OSError, ValueError):
                continue  # not mounted here, or "max"
    return min(limits)


def flavor_of(model: str) -> str:
    """``NVIDIA H100 80GB HBM3`` is the flavor ``h100``."""
    match = re.search(r"\b(?:RTX\s*)?([A-Z]{0,3}\d{1,4}[A-Z]{0,2})\b", model.replace("NVIDIA", ""))
    return slug(match[0] if match else model, "gpu")


def local_nodes(cluster: ClusterSettings, devices: Sequence[Device], *, advisory: bool) -> list[LocalNode]:
    """The nodes of a cluster.

    Raises
    ------
    EngineError
        If GPUs are declared beside real ones, or more real ones are named than there are.
    """
    if cluster.nodes is None:
        return [_found(cluster.name, devices, advisory=advisory)]
    models = {device.index: device.model for device in devices}
    spare = sorted(models)
    offered = []
    for node in cluster.nodes:
        if node.declared and node.gpu and devices:
            raise EngineError(
                f"Node {node.name} declares GPUs, but this machine has real ones; remove 'declared'.",
                again=False,
            )
        taken = _devices(node, spare)
        spare = [index for index in spare if index not in taken]
        offered.append(
            LocalNode(
                Node(
                    cluster=cluster.name,
                    name=node.name,
                    flavor=node.flavor,
                    cpu=node.cpu,
                    memory=node.memory,
                    gpu=node.gpu,
                    gpu_model=models[taken[0]] if taken else None,
                    declared=node.declared,
                    advisory=advisory,
                    address=node.address,
                    labels=node.labels,
                    levels=list(node.levels),
                ),
                taken,
            )
        )
    return offered


def check_nodes(clusters: Sequence[ClusterSettings]) -> None:
    """Look whether the configuration fits this machine, before anything is started.

    Raises
    ------
    EngineError
        If it does not.
    """
    devices = find_devices()
    for cluster in clusters:
        local_nodes(cluster, devices, advisory=True)


def _devices(node: NodeSettings, spare: list[int]) -> tuple[int, ...]:
    if node.declared or not node.gpu:
        return ()
    wanted = spare[: node.gpu] if node.gpus is None else node.gpus
    missing = [index for index in wanted if index not in spare]
    if missing or len(wanted) < node.gpu:
        raise EngineError(
            f"Node {node.name} has {node.gpu} GPUs in the configuration, but this machine has "
            f"{len(spare)} left for it; for a number without devices, add 'declared: true'.",
            again=False,
        )
    return tuple(wanted)


def _found(cluster: str, devices: Sequence[Device], *, advisory: bool) -> LocalNode:
    node = Node(
        cluster=cluster,
        name=slug(socket.gethostname().split(".")[0], "node"),
        flavor=flavor_of(devices[0].model) if devices else "cpu",
        cpu=len(os.sched_getaffinity(0)) * 1000,
        memory=machine_memory(),
        gpu=len(devices),
        gpu_model=devices[0].model if devices else None,
        advisory=advisory,
    )
    return LocalNode(node, tuple(device.index for device in devices))

"""Worlds for the queue's tests, written in one line each."""

from __future__ import annotations

from typing import Any

from footplate_hub.queue.model import (
    Amount,
    ClusterModel,
    GroupModel,
    Limit,
    NodeModel,
    Placement,
    Quota,
    RoleShape,
    Running,
    Shape,
    Snapshot,
    Workload,
)
from footplate_spec.reasons import Reason, ReasonCode

GI = 2**30


def node(name: str, gpu: int = 0, cpu: int = 8, *, memory: int = 64, **extra: Any) -> NodeModel:
    flavor = extra.pop("flavor", "gpu" if gpu else "cpu")
    cluster = extra.pop("cluster", "local")
    return NodeModel(cluster, name, flavor, Amount(cpu * 1000, memory * GI, gpu), **extra)


def role(replicas: int = 1, gpu: int = 0, cpu: float = 1, *, memory: int = 1, **extra: Any) -> RoleShape:
    need = Amount(int(cpu * 1000), memory * GI, gpu)
    flavors = tuple(extra.get("flavors", ()))
    return RoleShape(extra.get("name", "worker"), replicas, need, flavors, extra.get("most"))


def workload(name: str, *roles: RoleShape, **extra: Any) -> Workload:
    place = extra.pop("place", 0.0)
    group = extra.pop("group", "research")
    priority = extra.pop("priority", 0)
    own = {key: extra.pop(key) for key in ("time_limit", "owner", "waits") if key in extra}
    return Workload(name, group, priority, place, Shape(roles or (role(),), **extra), **own)


def running(
    name: str, on: NodeModel, need: Amount, *, group: str = "research", ends: float | None = None
) -> Running:
    placement = Placement("worker", 0, on.cluster, on.name, on.flavor, need)
    return Running(name, group, (placement,), ends=ends)


def world(nodes: list[NodeModel], waiting: list[Workload], **extra: Any) -> Snapshot:
    return Snapshot(nodes=tuple(nodes), lines=Snapshot.lines_of(waiting), **extra)


def quota(group: str, flavor: str, *, hard: bool = False, **amounts: int | None) -> dict[str, GroupModel]:
    """A group's own amounts; ``hard``: it borrows nothing."""
    borrowing = Limit(**dict.fromkeys(amounts, 0)) if hard else Limit()
    return {group: GroupModel(group, {("local", flavor): Quota(Limit(**amounts), borrowing)})}


def full_disk(cluster: str) -> dict[str, ClusterModel]:
    reason = Reason(code=ReasonCode.DISK_LOW, message="The disk is full.")
    return {cluster: ClusterModel(cluster, held=reason)}

"""Alibaba's openb trace (clusterdata, cluster-trace-gpu-v2023): nodes, and pods that never were gangs.

As it is the trace never queues, and its pods say neither gangs nor limits. So, seeded:

- successive one-GPU tasks are merged into gangs of 2–64 GPUs, which last as long as their longest member and
  need of cores and memory what half of their members need;
- a time limit is the duration × (1 + a lognormal factor);
- a share of a GPU (``gpu_milli`` below 1000) is rounded up to a whole one;
- what came before the first half per cent of arrivals, months early, enters when the rest begins, with
  what it then had left; a task lasts seven days at most;
- pods that were never scheduled are left out.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low

from ..queue.model import Amount, NodeModel, RoleShape
from .table import Row, rows
from .trace import CLUSTER, Shapes, Trace, TraceError, TraceJob, by_submission, one_role

__all__ = ["looks_like_nodes", "looks_like_pods", "read_nodes", "read_pods"]

_PODS = ("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "qos", "creation_time", "deletion_time")
_NODES = ("sn", "cpu_milli", "memory_mib", "gpu", "model")
_MIB = 2**20
_GANGS = (2, 4, 8, 16, 32, 64)
_WEIGHTS = (40, 25, 18, 10, 5, 2)  # small gangs are common
_GANG_RATE = 0.15  # of the tasks that could begin one
_LONGEST = 7 * 86400.0
_EARLY = 0.005
_SPREAD = 1.0  # of the logarithm of (limit / duration − 1)


def looks_like_pods(first: str) -> bool:
    """Whether a file with this first line is openb's list of pods."""
    return "creation_time" in first and "num_gpu" in first


def looks_like_nodes(first: str) -> bool:
    """Whether a file with this first line is openb's list of nodes."""
    return first.startswith("sn,")


def read_nodes(file: Path) -> Trace:
    """Nodes; their GPU's model is their flavor."""
    nodes = []
    for row in rows(file, _NODES):
        capacity = Amount(row.whole("cpu_milli"), row.whole("memory_mib") * _MIB, row.whole("gpu", 0))
        flavor = row.text("model", "cpu").lower()
        nodes.append(NodeModel(CLUSTER, row.text("sn"), flavor, capacity))
    if not nodes:
        raise TraceError("has no nodes", file)
    return Trace((), tuple(nodes))


@dataclass(frozen=True, slots=True)
class _Task:
    name: str
    created: float
    duration: float
    need: Amount
    flavors: tuple[str, ...]
    group: str
    line: int


def read_pods(file: Path, seed: int = 0) -> Trace:
    """Jobs, merged and limited as the module says."""
    found = [_task(row) for row in rows(file, _PODS, None)]
    tasks = sorted((task for task in found if task is not None), key=lambda task: (task.created, task.line))
    if not tasks:
        raise TraceError("has no pods that ran", file)
    begins = tasks[int(len(tasks) * _EARLY)].created
    tasks = [task for task in (_from(task, begins) for task in tasks) if task.duration > 0]
    chance = random.Random(seed)  # noqa: S311 - a seeded choice, no secret
    shapes = Shapes()
    jobs = by_submission(_job(members, begins, shapes, chance) for members in _gangs(tasks, chance))
    notes = (
        f"{len(found) - sum(task is not None for task in found)} pods that were never scheduled are left out",
        f"{sum(job.shape.roles[0].replicas > 1 for job in jobs)} gangs were merged from one-GPU tasks",
        "shares of a GPU are rounded up to whole ones",
    )
    return Trace(jobs, notes=notes)


def _task(row: Row) -> _Task | None:
    if not row.text("scheduled_time"):
        return None
    scheduled, deleted = row.number("scheduled_time"), row.number("deletion_time")
    if deleted < scheduled:
        raise row.wrong(f"the pod is deleted at {deleted:g}, before it is scheduled at {scheduled:g}")
    need = Amount(row.whole("cpu_milli"), row.whole("memory_mib") * _MIB, row.whole("num_gpu"))
    return _Task(
        name=row.text("name"),
        created=row.number("creation_time"),
        duration=deleted - scheduled,
        need=need,
        flavors=tuple(model.lower() for model in row.text("gpu_spec").split("|") if model),
        group=row.text("qos", "default").lower(),
        line=row.line,
    )


def _from(task: _Task, begins: float) -> _Task:
    gone = max(begins - task.created, 0.0)
    left = min(task.duration - gone, _LONGEST)
    return _Task(task.name, task.created + gone, left, task.need, task.flavors, task.group, task.line)


def _gangs(tasks: Iterable[_Task], chance: random.Random) -> Iterator[list[_Task]]:
    """Each task alone, or with those of one GPU and the same wishes that come next."""
    open_: dict[tuple[str, ...], tuple[int, list[_Task]]] = {}
    for task in tasks:
        if task.need.gpu != 1:
            yield [task]
        elif task.flavors in open_:
            size, members = open_[task.flavors]
            members.append(task)
            if len(members) == size:
                yield open_.pop(task.flavors)[1]
        elif chance.random() < _GANG_RATE:
            open_[task.flavors] = (chance.choices(_GANGS, _WEIGHTS)[0], [task])
        else:
            yield [task]
    for _, members in open_.values():
        yield from ([task] for task in members)


def _job(members: list[_Task], begins: float, shapes: Shapes, chance: random.Random) -> TraceJob:
    first, count = members[-1], len(members)
    need = Amount(
        median_low(task.need.cpu for task in members),
        median_low(task.need.memory for task in members),
        first.need.gpu,
    )
    duration = max(task.duration for task in members)
    role = RoleShape("worker", count, need, first.flavors)
    return TraceJob(
        id=first.name,
        submit=first.created - begins,
        duration=duration,
        shape=shapes.one(one_role(role)),
        time_limit=math.ceil(duration * (1 + chance.lognormvariate(0, _SPREAD))) + 1,
        group=first.group,
        line=first.line,
    )

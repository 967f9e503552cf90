"""The waiting workloads as columns, in the order of their ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .model import Shape, Snapshot, Workload
from .orders import Order, order_named
from .policies import domain

__all__ = ["Columns"]

Ids = NDArray[np.int64]


class Columns:
    """Rows are workloads by rank; a class is what workloads of one line with equal limits and owners share.

    Parameters
    ----------
    clusters
        All that have nodes, in order.
    owners
        Whether it matters whose a workload is.
    """

    def __init__(self, snapshot: Snapshot, clusters: Sequence[str], *, owners: bool) -> None:
        self.lines = snapshot.lines
        self.shapes: list[Shape] = []
        self.groups: list[str] = []
        self.orders: list[Order] = []
        shapes: dict[Shape, int] = {}
        groups: dict[str, int] = {}
        domains: dict[str, int] = {}
        of_line = []
        for line in self.lines:
            if shapes.setdefault(line.shape, len(shapes)) == len(self.shapes):
                self.shapes.append(line.shape)
            if groups.setdefault(line.group, len(groups)) == len(self.groups):
                self.groups.append(line.group)
            name, policy = domain(snapshot, line.group, line.shape.clusters or clusters)
            if domains.setdefault(name, len(domains)) == len(self.orders):
                self.orders.append(order_named(policy.order))
            of_line.append((shapes[line.shape], groups[line.group], domains[name]))
        ids = np.array(of_line, dtype=np.int64).reshape(len(of_line), 3)
        everyone = [w for line in self.lines for w in line.workloads]
        by_rank = _by_rank(everyone)
        self.workloads: list[Workload] = [everyone[i] for i in by_rank]
        self.line: Ids = np.repeat(np.arange(len(ids)), [len(line.workloads) for line in self.lines])[by_rank]
        self.shape: Ids = ids[self.line, 0]
        self.group: Ids = ids[self.line, 1]
        self.domain: Ids = ids[self.line, 2]
        self.waits = np.array([w.waits is not None for w in self.workloads], dtype=np.bool_)
        self.owed = np.array([w.owed for w in self.workloads], dtype=np.bool_)
        numbers: dict[object, int] = {}
        self.classes: list[int] = [
            numbers.setdefault((line, w.time_limit, w.owner if owners else "", w.waits is None), len(numbers))
            for line, w in zip(self.line.tolist(), self.workloads, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.workloads)


def _by_rank(workloads: list[Workload]) -> Ids:
    priority = np.array([-w.priority for w in workloads], dtype=np.int64)
    owed = np.array([not w.owed for w in workloads], dtype=np.bool_)
    place = np.array([w.place for w in workloads], dtype=np.float64)
    order = np.lexsort((place, priority, owed))
    same = (np.diff(priority[order]) == 0) & (np.diff(place[order]) == 0) & ~np.diff(owed[order])
    begin = 0
    for end in [*(np.flatnonzero(~same) + 1).tolist(), len(workloads)] if same.any() else []:
        if end - begin > 1:  # only who came at the very same time is told apart by id
            order[begin:end] = sorted(order[begin:end].tolist(), key=lambda i: workloads[i].id)
        begin = end
    return order

"""Those who wait, in lines: workloads of one group and shape, in order."""

from __future__ import annotations

import bisect

from ..queue.model import Line, Shape, Workload

__all__ = ["WaitingLine"]


class WaitingLine:
    """Workloads of one group and shape in order."""

    def __init__(self, group: str, shape: Shape) -> None:
        self.group = group
        self.shape = shape
        self.workloads: list[Workload] = []

    def add(self, workload: Workload) -> None:
        """Insert in order."""
        bisect.insort(self.workloads, workload, key=lambda w: w.rank)

    def remove(self, workload: Workload) -> None:
        """Take out."""
        place = bisect.bisect_left(self.workloads, workload.rank, key=lambda w: w.rank)
        del self.workloads[place]

    @property
    def frozen(self) -> Line:
        """As a pass sees it."""
        return Line(self.group, self.shape, tuple(self.workloads))

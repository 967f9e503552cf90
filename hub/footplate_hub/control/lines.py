"""Those who wait, in lines: workloads of one group and shape, in order, and what the last pass said."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from footplate_spec import Reason

from ..queue.model import Blocked, Line, Shape, Workload

__all__ = ["WaitingLine"]


class WaitingLine:
    """Workloads of one group and shape in order, and why they wait.

    Most of a line wait for the same reason; only the others have one of their own.
    """

    def __init__(self, group: str, shape: Shape) -> None:
        self.group = group
        self.shape = shape
        self.workloads: list[Workload] = []
        self.unexplained: set[str] = set()  # jobs whose stored reason has another code
        self.explained_at = 0.0
        self._reason: Reason | None = None
        self._own: dict[str, Reason] = {}
        self._frozen: Line | None = None

    def add(self, workload: Workload) -> None:
        """Insert in order."""
        bisect.insort(self.workloads, workload, key=lambda w: w.rank)
        self.unexplained.add(workload.id)
        self._frozen = None

    def remove(self, workload: Workload) -> None:
        """Take out."""
        place = bisect.bisect_left(self.workloads, workload.rank, key=lambda w: w.rank)
        del self.workloads[place]
        self.unexplained.discard(workload.id)
        self._own.pop(workload.id, None)
        self._frozen = None

    @property
    def frozen(self) -> Line:
        """As a pass sees it."""
        if self._frozen is None:
            self._frozen = Line(self.group, self.shape, tuple(self.workloads))
        return self._frozen

    def reason_of(self, workload: Workload) -> Reason | None:
        """Why one of the line does not start; none before a pass has seen the line."""
        return self._own.get(workload.id) or workload.waits or self._reason

    def note(self, blocked: Sequence[Blocked]) -> None:
        """Take over what a pass said of the line."""
        shared = max(
            (one for one in blocked if one.workloads[0].waits is None),
            key=lambda one: len(one.workloads),
            default=None,
        )
        own = {w.id: one.reason for one in blocked if one is not shared for w in one.workloads}
        before, after = self._reason, shared.reason if shared is not None else self._reason
        if (before and before.code) != (after and after.code):
            self.unexplained = {workload.id for workload in self.workloads}
        for job in own.keys() | self._own.keys():
            was, now = self._own.get(job) or before, own.get(job) or after
            if (was and was.code) != (now and now.code):
                self.unexplained.add(job)
        self._reason, self._own = after, own

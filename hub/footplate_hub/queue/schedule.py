"""One pass of the queue: who starts now, where, and one reason for everyone who does not.

Order is priority, then first come first served. A workload that waits for room alone holds the flavors
that it could use: nobody behind it may take them, so nothing starves, whatever its size. One that waits
for quota, or that its own exclusions rule out, holds nobody up.

Workloads of one group with one shape form a line: when the first cannot start, none behind it can, so a
pass costs as much as it admits, plus one look at each line.
"""

from __future__ import annotations

import heapq

import numpy as np

from footplate_spec.reasons import Reason

from .explain import Explainer, Moment, held_cluster
from .fit import Mask, Nodes, Option, Room, demand, feasible, fit, options, vector
from .model import Admission, Blocked, Line, Placement, Plan, Shape, Snapshot
from .quota import Quotas

__all__ = ["schedule"]


def schedule(snapshot: Snapshot, now: float) -> Plan:
    """Decide.

    Parameters
    ----------
    snapshot
        The world; not changed.
    now
        Unix seconds, for the numbers in reasons only.

    Returns
    -------
    Plan
        Admissions in order, and in ``blocked`` every other workload exactly once.
    """
    current = _Pass(snapshot, now)
    heads = [
        (line.workloads[0].rank, number, 0) for number, line in enumerate(snapshot.lines) if line.workloads
    ]
    heapq.heapify(heads)
    admit: list[Admission] = []
    blocked: list[Blocked] = []
    while heads:
        _, number, position = heads[0]
        line = snapshot.lines[number]
        outcome = current.consider(line, line.workloads[position].owner)
        if isinstance(outcome, Reason):
            heapq.heappop(heads)
            blocked.append(Blocked(line.workloads[position:], outcome))
            continue
        option, placements = outcome
        admit.append(Admission(line.workloads[position], option.cluster, placements))
        if position + 1 < len(line.workloads):
            heapq.heapreplace(heads, (line.workloads[position + 1].rank, number, position + 1))
        else:
            heapq.heappop(heads)
    return Plan(admit=tuple(admit), blocked=tuple(blocked))


class _Pass:
    """What is free, what is used and what is held while one pass goes on."""

    def __init__(self, snapshot: Snapshot, now: float) -> None:
        self.snapshot = snapshot
        self.nodes = Nodes(snapshot.nodes)
        self.free: Room = self.nodes.capacity.copy()
        for attempt in snapshot.running:
            self._use(attempt.placements)
        self.quotas = Quotas(snapshot.groups, snapshot.running)
        self.held: Mask = np.zeros(len(self.nodes.models), np.bool_)
        self._allowed: dict[Shape, Mask] = {}
        self._options: dict[Shape, list[Option]] = {}
        self._explainer = Explainer(self.nodes, snapshot, now)

    def consider(self, line: Line, owner: str) -> tuple[Option, tuple[Placement, ...]] | Reason:
        """Start the next workload of a line, or say why not."""
        shape = line.shape
        if shape not in self._options:
            self._options[shape] = list(options(self.nodes, shape))
            self._allowed[shape] = self.nodes.allowed(shape)
        mask = self._allowed[shape] & self.nodes.usable & ~self.held
        for option in self._options[shape]:
            if held_cluster(self.snapshot, option.cluster) is not None:
                continue
            if self.quotas.shortages(line.group, demand(shape, option)):
                continue
            if not feasible(self.nodes, self.free, mask, shape, option):
                continue
            placements = fit(self.nodes, self.free, mask, shape, option)
            if placements is not None:
                self._use(placements)
                self.quotas.take(line.group, owner, placements)
                return option, placements
        reason, waits_for = self._explainer.explain(
            line, self._options[shape], self._allowed[shape], Moment(self.free, self.held, self.quotas)
        )
        for option in waits_for:
            for flavor in option.flavors:
                self.held |= self.nodes.places[option.cluster, flavor]
        return reason

    def _use(self, placements: tuple[Placement, ...]) -> None:
        for placement in placements:
            node = self.nodes.index.get((placement.cluster, placement.node))
            if node is not None:  # a node that was taken out of the configuration still runs to the end
                self.free[node] -= np.array(vector(placement.need), dtype=np.int64)

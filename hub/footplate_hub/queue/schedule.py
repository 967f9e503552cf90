"""One pass of the queue: who starts now, where, for whom nodes are kept, and one reason for everyone else.

Everyone is considered once, in turn. Who waits for room alone, as the first in a pool, gets a reservation
there: nodes from the earliest time on at which they are free by time limits. Those behind may pass only if
they cannot delay it, so nothing starves, whatever its size. Who waits for quota, or is ruled out by its own
exclusions, holds nobody up.

Within a pass room and quota only shrink, so what was refused once is not tried again.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

import numpy as np

from footplate_spec.reasons import Reason

from . import room_reasons
from .admission import Admitter, held_group
from .advise import Advisor, World
from .columns import Columns
from .explain import Explainer
from .making_room import RoomMade, Stoppable
from .model import Admission, Blocked, Plan, Preemption, Reservation, Snapshot, Workload
from .nodes import Mask, Nodes
from .orders import Use
from .prospects import Prospect
from .quota import Quotas
from .sequence import Members, Sequence
from .standing import Standing

__all__ = ["Pass", "schedule"]


def schedule(snapshot: Snapshot, now: float) -> Plan:
    """Decide.

    Parameters
    ----------
    snapshot
        The world; not changed.
    now
        Unix seconds.

    Returns
    -------
    Plan
        Admissions in order, and in ``blocked`` every other workload exactly once.
    """
    return Pass(snapshot, now).plan()


class Pass:
    """What is known and what has been decided while one pass goes on."""

    def __init__(self, snapshot: Snapshot, now: float) -> None:
        self._snapshot = snapshot
        self._now = now
        self._nodes = Nodes(snapshot.nodes, snapshot.clusters)
        limited = any(group.person is not None for group in snapshot.groups.values())
        self._columns = Columns(snapshot, self._nodes.clusters, owners=limited)
        quotas = Quotas(snapshot.groups, snapshot.running)
        self._standing = Standing(self._nodes, quotas, snapshot.running, now)
        self._prospects = [
            Prospect(self._nodes, number, shape) for number, shape in enumerate(self._columns.shapes)
        ]
        self._use = Use(snapshot.groups, snapshot.running, now)
        self._stoppable = Stoppable(snapshot.running)
        self._admitter = Admitter(snapshot, self._nodes, self._standing, self._stoppable, now)
        self._explainer = Explainer(snapshot, self._nodes, self._standing, now)
        self._reasons: dict[int, Reason] = {}  # of classes that were refused
        self._kept: dict[int, Reason] = {}  # of rows for which nodes are kept

    def plan(self) -> Plan:
        """Consider everyone."""
        columns, reasons = self._columns, self._reasons
        held = np.array([held_group(self._snapshot, group) is not None for group in columns.groups], np.bool_)
        stays = columns.waits | held[columns.group]
        members = Members(columns.domain, columns.group, columns.orders, columns.groups)
        sequence = Sequence(np.flatnonzero(~stays & ~columns.owed), members, self._use)
        owed = iter(np.flatnonzero(~stays & columns.owed).tolist())  # whatever the order is

        def turn() -> int | None:
            row = next(owed, None)
            return sequence.next() if row is None else row

        admit: dict[int, Admission] = {}
        preempt: list[Preemption] = []
        reserve: list[Reservation] = []
        while (row := turn()) is not None:
            if columns.classes[row] in reasons:
                continue
            workload, prospect = columns.workloads[row], self._prospects[columns.shape[row]]
            outcome = self._admitter.consider(workload, prospect)
            if isinstance(outcome, Admission):
                admit[row] = outcome
                gpus = sum(placement.need.gpu for placement in outcome.placements)
                self._use.admit(workload.group, gpus, workload.time_limit)
                continue
            if isinstance(outcome, RoomMade):
                preempt += outcome.preemptions
                self._kept[row] = room_reasons.room_made(outcome.stopping, len(outcome.preemptions))
                continue
            reasons[columns.classes[row]] = self._explainer.explain(workload, prospect, None)
            if outcome is not None:
                reserve.append(outcome)
                self._kept[row] = self._explainer.explain(workload, prospect, outcome)
        return Plan(
            admit=tuple(admit.values()),
            preempt=tuple(preempt),
            reserve=tuple(reserve),
            blocked=tuple(self._blocked(admit, stays)),
        )

    def advisor(self) -> Advisor:
        """To ask, after `plan`, what would start now if it were different."""
        world = World(self._snapshot, self._nodes, self._stoppable, self._use, self._now)
        return Advisor(world, self._standing)

    def _blocked(self, admitted: Container[int], stays: Mask) -> Iterator[Blocked]:
        columns = self._columns
        alone: dict[tuple[int, int], Reason] = {}  # of those that stay whatever is free
        members: dict[tuple[int, int], list[Workload]] = {}
        told: dict[tuple[int, int], Reason] = {}
        for row, workload in enumerate(columns.workloads):
            if row in admitted:
                continue
            if row in self._kept:
                reason = self._kept[row]
            elif stays[row]:
                same = (columns.classes[row], id(workload.waits))
                if same not in alone:
                    prospect = self._prospects[columns.shape[row]]
                    alone[same] = self._explainer.explain(workload, prospect, None)
                reason = alone[same]
            else:
                reason = self._reasons[columns.classes[row]]
            key = (int(columns.line[row]), id(reason))
            told[key] = reason
            members.setdefault(key, []).append(workload)
        for key, workloads in members.items():
            yield Blocked(tuple(workloads), told[key])

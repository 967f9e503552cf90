"""The waiting workloads as columns, in the order of their ranks, brought in step with each snapshot.

A line that is the same object as in the pass before is the same line; only what came and went is looked at.
"""

from __future__ import annotations

import bisect
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .forms import Forms
from .model import Line, Snapshot, Workload
from .nodes import Ids, Mask
from .orders import Order, order_named
from .policies import domain
from .sequence import Members

__all__ = ["Columns"]

_ROWS = ("workloads", "slot", "limit", "priority", "waits", "owed", "person", "number")


class Columns:
    """Rows are workloads by rank; slots are lines, those that are gone included.

    Parameters
    ----------
    forms
        What the shapes of new lines are added to.
    snapshot
        For its policies, which must not change while this lives.
    """

    def __init__(self, forms: Forms, snapshot: Snapshot) -> None:
        self._forms = forms
        self._policies = Snapshot((), (), groups=snapshot.groups, clusters=snapshot.clusters)
        self.groups: list[str] = []
        self.orders: list[Order] = []
        self._groups: dict[str, int] = {}
        self._domains: dict[str, int] = {}
        self._domain_of: dict[tuple[str, tuple[str, ...]], int] = {}
        self._of_line: dict[int, Line] = {}  # by slot: held, so that no other object gets one's id
        self._ids: Ids = np.zeros(0, dtype=np.int64)  # of the snapshot's lines, in its order
        self._slots: Ids = np.zeros(0, dtype=np.int64)
        self._of_slot: Ids = np.zeros((0, 3), dtype=np.int64)  # shape, group, domain
        self.workloads: NDArray[np.object_] = np.zeros(0, dtype=object)
        self.persons: list[tuple[int, str]] = []  # group and owner of those who have something here
        self._persons: dict[tuple[int, str], int] = {}
        self.slot: Ids = np.zeros(0, dtype=np.int64)
        self.limit: NDArray[np.float64] = np.zeros(0)  # seconds; infinite where there is none
        self.priority: Ids = np.zeros(0, dtype=np.int64)
        self.waits: Mask = np.zeros(0, np.bool_)
        self.owed: Mask = np.zeros(0, np.bool_)
        self.person: Ids = np.zeros(0, dtype=np.int64)
        self.number: Ids = np.zeros(0, dtype=np.int64)  # of each workload for good, while this lives
        self._counted = 0  # workloads that were ever here
        self.numbering = object()
        self.update(snapshot.lines)

    def __len__(self) -> int:
        return len(self.workloads)

    @property
    def crowded(self) -> bool:
        """Whether most slots are of lines that are gone."""
        return len(self._of_slot) > 2 * len(self._ids) + 1000

    def update(self, lines: tuple[Line, ...]) -> None:
        """Let lines go and come."""
        ids = np.fromiter(map(id, lines), dtype=np.int64, count=len(lines))
        if len(ids) == len(self._ids) and (ids == self._ids).all():
            self._derive()
            return
        slots = self._known(ids)
        new = np.flatnonzero(slots < 0).tolist()
        stays = np.zeros(len(self._of_slot), np.bool_)
        stays[slots[slots >= 0]] = True
        gone = self._slots[~stays[self._slots]].tolist()
        before = {(self._of_line[slot].group, self._of_line[slot].shape): slot for slot in gone}
        came: list[tuple[int, Workload]] = []
        left: list[Workload] = []
        fresh: list[Line] = []
        for i in new:
            line = lines[i]
            slot = before.get((line.group, line.shape), -1)
            if slot < 0:
                slot = len(self._of_slot) + len(fresh)
                fresh.append(line)
                came += [(slot, workload) for workload in line.workloads]
            else:
                stays[slot] = True
                were, are = self._of_line[slot].workloads, line.workloads
                same = {id(workload) for workload in were}.intersection(map(id, are))
                came += [(slot, workload) for workload in are if id(workload) not in same]
                left += [workload for workload in were if id(workload) not in same]
            slots[i] = slot
            self._of_line[slot] = line
        for slot in gone:
            if not stays[slot]:
                del self._of_line[slot]
        self._leave(stays, left)
        self._add_slots(fresh)
        self._add(came)
        self._ids, self._slots = ids, slots
        self._derive()

    def _known(self, ids: Ids) -> Ids:
        """The slots of lines that are the same objects as before; -1 for others."""
        slots = np.full(len(ids), -1, dtype=np.int64)
        if len(self._ids):
            order = np.argsort(self._ids)
            at = np.searchsorted(self._ids, ids, sorter=order)
            at = order[np.minimum(at, len(order) - 1)]
            known = self._ids[at] == ids
            slots[known] = self._slots[at[known]]
        return slots

    def _leave(self, stays: Mask, left: list[Workload]) -> None:
        """Let go of lines that do not stay, and of some workloads of those that do."""
        if not len(self.workloads):
            return
        keep = stays[self.slot]
        keep[[bisect.bisect_left(self.workloads, w.rank, key=_rank) for w in left]] = False
        if not keep.all():
            self._keep(keep)

    def _add_slots(self, lines: list[Line]) -> None:
        if lines:
            self._of_slot = np.concatenate([self._of_slot, np.array([self._of(line) for line in lines])])

    def _add(self, came: list[tuple[int, Workload]]) -> None:
        """Sort in workloads, each with its slot."""
        if not came:
            return
        workloads = [workload for _, workload in came]
        objects = np.empty(len(came), dtype=object)
        objects[:] = workloads
        new: dict[str, Any] = {
            "workloads": objects,
            "slot": [slot for slot, _ in came],
            "limit": [w.time_limit or math.inf for w in workloads],
            "priority": [w.priority for w in workloads],
            "waits": [w.waits is not None for w in workloads],
            "owed": [w.owed for w in workloads],
            "person": [self._person(w) for w in workloads],
            "number": range(self._counted, self._counted + len(came)),
        }
        self._counted += len(came)
        if len(came) * 8 > len(self.workloads):
            for name, values in new.items():
                column = getattr(self, name)
                setattr(self, name, np.concatenate([column, np.array(values, dtype=column.dtype)]))
            self._keep(self._by_rank())
        else:
            places = [bisect.bisect_left(self.workloads, w.rank, key=_rank) for w in workloads]
            by_place = sorted(range(len(came)), key=lambda i: (places[i], workloads[i].rank))
            at = [places[i] for i in by_place]
            for name, values in new.items():
                column = getattr(self, name)
                more = np.array(values, dtype=column.dtype)[by_place]
                setattr(self, name, np.insert(column, at, more))

    def _person(self, workload: Workload) -> int:
        person = (self._groups[workload.group], workload.owner)
        number = self._persons.setdefault(person, len(self.persons))
        if number == len(self.persons):
            self.persons.append(person)
        return number

    def _keep(self, rows: Mask | Ids) -> None:
        for name in _ROWS:
            setattr(self, name, getattr(self, name)[rows])

    def _by_rank(self) -> Ids:
        place = np.array([w.place for w in self.workloads], dtype=np.float64)
        priority, owed = -self.priority, ~self.owed
        order: Ids = np.lexsort((place, priority, owed))
        same = (np.diff(priority[order]) == 0) & (np.diff(place[order]) == 0)
        same &= owed[order][1:] == owed[order][:-1]
        ids = [w.id for w in self.workloads] if same.any() else []
        begin = 0
        for end in [*(np.flatnonzero(~same) + 1).tolist(), len(place)] if same.any() else []:
            if end - begin > 1:  # only who came at the very same time is told apart by id
                order[begin:end] = sorted(order[begin:end].tolist(), key=ids.__getitem__)
            begin = end
        return order

    def _of(self, line: Line) -> tuple[int, int, int]:
        group = self._groups.setdefault(line.group, len(self._groups))
        if group == len(self.groups):
            self.groups.append(line.group)
        clusters = line.shape.clusters or tuple(self._forms.nodes.clusters)
        key = (line.group, clusters)
        if key not in self._domain_of:
            name, policy = domain(self._policies, line.group, clusters)
            number = self._domain_of[key] = self._domains.setdefault(name, len(self._domains))
            if number == len(self.orders):
                self.orders.append(order_named(policy.order))
        return self._forms.number(line.shape), group, self._domain_of[key]

    def _derive(self) -> None:
        """What is asked for in every pass."""
        self.slot_shape, self.slot_group = self._of_slot[:, 0], self._of_slot[:, 1]
        self.group: Ids = self.slot_group[self.slot]
        self.members = Members(self._of_slot[self.slot, 2], self.group, self.orders, self.groups)


def _rank(workload: Workload) -> tuple[int, int, float, str]:
    return workload.rank

"""One pass of the queue: who starts now, where, for whom nodes are kept, and one reason for everyone else.

Everyone is considered once, in turn. Who waits for room alone, as the first in a pool, gets a reservation
there: nodes from the earliest time on at which they are free by time limits. Those behind may pass only if
they cannot delay it, so nothing starves, whatever its size. Who waits for quota, or is ruled out by its own
exclusions, holds nobody up.

Most of a long line can be told to stay by numbers alone (`screen`); only the others are looked at one by one.
Within a pass room and quota only shrink, so what was refused once is not tried again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from footplate_spec.reasons import Reason, ReasonCode

from . import room_reasons
from .admission import Admitter
from .advise import Advisor, World
from .budgets import Budgets
from .explain import Explainer, Seen
from .making_room import RoomMade, Stoppable
from .memory import Memory
from .model import Admission, Plan, Preemption, Reservation, Snapshot, Workload
from .nodes import Ids
from .orders import Use
from .screen import Screen
from .sequence import Sequence
from .verdicts import CODES, UNKNOWN, Verdicts

__all__ = ["Pass", "schedule"]

_WORK = 50_000  # pairs of line and way that are looked at again after single admissions
_REFUSALS = 16  # after so many, those who cannot start any more are left out together


def schedule(snapshot: Snapshot, now: float, memory: Memory | None = None) -> Plan:
    """Decide.

    Parameters
    ----------
    snapshot
        The world; not changed.
    now
        Unix seconds.
    memory
        Of the passes before over the same world; it makes this one quicker, never different.

    Returns
    -------
    Plan
        Admissions in order, and in ``blocked`` every other workload exactly once. Reasons are put into words
        when they are asked for, from what the pass left.
    """
    return Pass(snapshot, now, memory).plan()


class Pass:
    """What is known and what has been decided while one pass goes on.

    Attributes
    ----------
    verdicts
        What `plan` says of those who stay.
    """

    verdicts: Verdicts

    def __init__(self, snapshot: Snapshot, now: float, memory: Memory | None = None) -> None:
        self._snapshot = snapshot
        self._now = now
        recalled = (memory or Memory()).recall(snapshot)
        self._forms, self._columns, occupied = recalled.forms, recalled.columns, recalled.occupied
        nodes = self._forms.nodes
        budgets = Budgets(snapshot.groups, snapshot.prices, snapshot.running, now)
        self._standing = occupied.standing(now, self._columns.groups, budgets)
        self._screen = Screen(snapshot, recalled, self._standing)
        self._stoppable = Stoppable(snapshot.running if occupied.preemptible else ())
        self._admitter = Admitter(snapshot, nodes, self._standing, self._stoppable, now)
        self._explainer = Explainer(snapshot, nodes, self._standing, now)
        self._use = Use(snapshot.groups, occupied.young(now), occupied.weights)
        self._owners = any(group.person is not None for group in snapshot.groups.values())
        self._codes: Ids = np.full(len(self._columns), UNKNOWN)
        self._coded = 0  # rows before this one have their codes
        self._behind = False  # the screen, behind what was admitted
        self._work = 0
        self._admit: dict[int, Admission] = {}
        self._preempt: list[Preemption] = []
        self._reserve: list[Reservation] = []
        self._told: dict[int, Reason] = {}  # of rows for which others stop
        self._kept: dict[int, Reservation] = {}
        self._exact: dict[int, int] = {}  # codes of rows that numbers alone cannot tell

    def plan(self) -> Plan:
        """Consider everyone who might start, have others stopped, or have nodes kept."""
        columns = self._columns
        candidates = self._screen.candidates(self._now)
        owed = iter(np.flatnonzero(candidates & columns.owed).tolist())  # whatever the order is
        sequence = Sequence(np.flatnonzero(candidates & ~columns.owed), columns.members, self._use)
        refused: dict[object, int | None] = {}
        refusals = 0
        while True:
            row = next(owed, None)
            row = sequence.next() if row is None else row
            if row is None:
                break
            workload: Workload = columns.workloads[row]
            key = (columns.slot[row], workload.time_limit, workload.owner if self._owners else "")
            if key in refused:
                self._note(row, refused[key])
                continue
            if refusals >= _REFUSALS:
                refusals, self._behind = 0, False
                if self._screen.look_again():
                    sequence.narrow(self._screen.candidates(self._now))
            if self._behind and row > self._coded:
                self._look_again(row, sequence)
            changes = self._standing.changes
            outcome = self._consider(row, workload)
            if isinstance(outcome, Admission):
                self._admitted(row)
                continue
            if outcome is None or isinstance(outcome, Reservation):
                refused[key] = self._exactly(row, workload)
                self._note(row, refused[key])
                refusals += 1
            if self._behind or self._standing.changes > changes:
                self._look_again(row + 1, sequence, reserved=isinstance(outcome, Reservation))
        return self._finish()

    def advisor(self) -> Advisor:
        """To ask, after `plan`, what would start now if it were different."""
        world = World(self._snapshot, self._forms.nodes, self._stoppable, self._use, self._now)
        return Advisor(world, self._standing)

    def _consider(self, row: int, workload: Workload) -> Admission | RoomMade | Reservation | None:
        prospect = self._forms.prospects[self._columns.slot_shape[self._columns.slot[row]]]
        outcome = self._admitter.consider(workload, prospect)
        if isinstance(outcome, Admission):
            self._admit[row] = outcome
            gpus = sum(placement.need.gpu for placement in outcome.placements)
            self._use.admit(workload.group, gpus, workload.time_limit)
        elif isinstance(outcome, RoomMade):
            self._preempt += outcome.preemptions
            self._told[row] = room_reasons.room_made(outcome.stopping, len(outcome.preemptions))
            self._exact[row] = CODES.index(ReasonCode.WAITING_FOR_PREEMPTED_WORKLOADS)
        elif isinstance(outcome, Reservation):
            self._reserve.append(outcome)
            self._kept[row] = outcome
        return outcome

    # Codes

    def _exactly(self, row: int, workload: Workload) -> int | None:
        """The code of one that was refused, where numbers cannot tell it."""
        shape = self._columns.slot_shape[self._columns.slot[row]]
        if self._work >= _WORK or not self._forms.competes(int(shape)):
            return None
        return CODES.index(self._explainer.code(workload, self._forms.prospects[shape]))

    def _note(self, row: int, code: int | None) -> None:
        if code is not None:
            self._exact[row] = code

    def _admitted(self, row: int) -> None:
        """Those before it get their codes; what is left is looked at when somebody is passed over."""
        if row > self._coded and self._work < _WORK:
            self._work += self._screen.size
            self._code(row + 1)
        elif row == self._coded:
            self._coded += 1
        self._behind = True

    def _look_again(self, end: int, sequence: Sequence, *, reserved: bool = False) -> None:
        """Something changed: those before ``end`` get their codes, who need not be looked at is left out."""
        if self._work < _WORK:
            self._work += self._screen.size
            if self._behind:
                self._screen.look_again()
                self._behind = False
            self._code(end)
            self._screen.look_again()
            sequence.narrow(self._screen.candidates(self._now))
        elif reserved:
            sequence.narrow(self._screen.after_reserving())

    def _code(self, end: int) -> None:
        """As things stood when it was last looked."""
        if end > self._coded:
            self._codes[self._coded : end] = self._screen.codes()[self._coded : end]
            self._coded = end

    def _finish(self) -> Plan:
        columns = self._columns
        self._screen.look_again()
        self._code(len(columns))
        stays = np.ones(len(columns), np.bool_)
        stays[list(self._admit)] = False
        for row, code in self._exact.items():
            self._codes[row] = code
        for row, reason in self._told.items():
            self._codes[row] = CODES.index(reason.code)
        self.verdicts = Verdicts(
            columns,
            self._forms,
            codes=self._codes,
            by_owner=self._owners,
            stays=stays,
            told=self._told,
            kept=self._kept,
            judge=self._judge(),
            explainer=self._explainer,
            use=self._use,
        )
        return Plan(tuple(self._admit.values()), tuple(self._preempt), tuple(self._reserve), self.verdicts)

    def _judge(self) -> Callable[[Workload, int], ReasonCode]:
        """Finds codes that numbers alone do not tell, as things stand now."""
        fits, short, forms, explainer = self._screen.fits, self._screen.short, self._forms, self._explainer
        first = forms.first

        def code(workload: Workload, shape: int) -> ReasonCode:
            ways = slice(first[shape], first[shape + 1])
            return explainer.code(workload, forms.prospects[shape], Seen(fits[ways], short[ways]))

        return code

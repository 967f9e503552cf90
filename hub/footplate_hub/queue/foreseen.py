"""Quotas as they will be when reservations start: less what has ended by then, more what is reserved.

Each pool has one reservation at most, and so one start at which its quotas are judged. A person for whom
nodes are reserved is judged at the first of their starts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from .endings import Endings
from .model import Amount, Place, Placement, Reservation, Running, Workload
from .quota import Quotas
from .timeline import end_of

__all__ = ["Foreseen"]


class Foreseen:
    """What those may still have who run on past the start of a reservation.

    Attributes
    ----------
    quotas
        Of pools that are reserved and of persons for whom they are. Of all others they say nothing.
    """

    def __init__(self, quotas: Quotas, now: float) -> None:
        self.quotas = quotas.copy()
        self._now = now
        self._starts: dict[Place, float] = {}
        self._first: dict[str, float] = {}  # start, by owner
        self._reserved: dict[str, list[tuple[str, int]]] = {}  # group and GPUs, by owner

    def reserve(self, reservation: Reservation, workload: Workload, now: Quotas, endings: Endings) -> None:
        """Keep quota for a workload.

        Parameters
        ----------
        now
            What counts now, of those too for whom others stop.
        endings
            When it does no more.
        """
        start, placements = reservation.start, reservation.placements
        for place in {(placement.cluster, placement.flavor) for placement in placements}:
            self._starts[place] = start
            self.quotas.look_ahead(place, now, endings.of_place(place, start))
        self.quotas.count_amounts(workload.group, placements, 1)
        if not self.quotas.person_limits(workload.group):
            return
        owner = workload.owner
        self._first[owner] = min(start, self._first.get(owner, math.inf))
        gpus = sum(placement.need.gpu for placement in placements)
        self._reserved.setdefault(owner, []).append((workload.group, gpus))
        self.quotas.look_ahead_for(owner, now, endings.of_person(owner, self._first[owner]))
        for group, reserved in self._reserved[owner]:
            self.quotas.count_person(group, owner, 1, reserved)

    def allows(self, group: str, asked: Mapping[Place, Amount], end: float) -> bool:
        """Whether what ends then leaves everyone's reservation its quota."""
        return self.quotas.allows(group, {p: a for p, a in asked.items() if end > self._start(p)})

    def allows_person(self, group: str, owner: str, gpus: int, end: float) -> bool:
        """Whether what ends then leaves its owner what is reserved for the same person."""
        return end <= self._first.get(owner, math.inf) or self.quotas.allows_person(group, owner, gpus)

    def take(self, group: str, owner: str, placements: Iterable[Placement], end: float) -> None:
        """Count what has not ended by then."""
        self._count(group, owner, tuple(placements), end, 1)

    def release(self, attempt: Running) -> None:
        """Count an attempt no more, as far as it was counted."""
        self._count(attempt.group, attempt.owner, attempt.placements, end_of(attempt, self._now), -1)

    def restore(self, attempt: Running) -> None:
        """Take back a release."""
        self._count(attempt.group, attempt.owner, attempt.placements, end_of(attempt, self._now), 1)

    def _count(
        self, group: str, owner: str, placements: tuple[Placement, ...], end: float, sign: int
    ) -> None:
        still = [p for p in placements if end > self._start((p.cluster, p.flavor))]
        self.quotas.count_amounts(group, still, sign)
        if end > self._first.get(owner, math.inf):
            self.quotas.count_person(group, owner, sign, sign * sum(p.need.gpu for p in placements))

    def _start(self, place: Place) -> float:
        return self._starts.get(place, math.inf)

"""What attempts give back of quotas, and by when, if every one of them runs to its time limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .model import Place, Placement
from .nodes import Ids, Room, vector
from .timeline import Times

__all__ = ["Endings", "Holdings"]


@dataclass(frozen=True)
class Holdings:
    """What runs when a pass begins, as columns.

    Parameters
    ----------
    ends, group, owner, gpus
        Of each attempt; groups and owners by number.
    attempt, place, amount
        Of each placement: whose it is, the number of its pool, and CPU, memory, GPUs. -1 is a pool that no
        quota limits.
    """

    groups: Sequence[str]
    owners: Mapping[str, int]
    places: Mapping[Place, int]
    ends: Times
    group: Ids
    owner: Ids
    gpus: Ids
    attempt: Ids
    place: Ids
    amount: Room


class Endings:
    """What runs, and what is to start in this pass."""

    def __init__(self, held: Holdings) -> None:
        self._held = held
        self._fresh: list[tuple[float, str, str, tuple[Placement, ...], int]] = []

    def copy(self) -> Endings:
        """The same so far."""
        other = Endings(self._held)
        other._fresh = list(self._fresh)
        return other

    def add(self, end: float, group: str, owner: str, placements: tuple[Placement, ...]) -> None:
        """One more attempt gives back what it has at ``end``."""
        self._fresh.append((end, group, owner, placements, 1))

    def remove(self, end: float, group: str, owner: str, placements: tuple[Placement, ...]) -> None:
        """Take back what was added, or was there from the start."""
        self._fresh.append((end, group, owner, placements, -1))

    def of_place(self, place: Place, time: float) -> dict[str, tuple[int, int, int]]:
        """CPU, memory and GPUs of one pool that each group has given back by then."""
        held, sums = self._held, np.zeros((len(self._held.groups), 3), dtype=np.int64)
        number = held.places.get(place, -1)
        if number < 0:
            return {}
        mine = np.flatnonzero(held.place == number)
        mine = mine[held.ends[held.attempt[mine]] <= time]
        np.add.at(sums, held.group[held.attempt[mine]], held.amount[mine])
        found = {held.groups[n]: sums[n] for n in np.flatnonzero(sums.any(axis=1)).tolist()}
        for end, group, _, placements, sign in self._fresh:
            if end <= time:
                for placement in placements:
                    if (placement.cluster, placement.flavor) == place:
                        found[group] = found.get(group, 0) + sign * np.array(vector(placement.need))
        return {group: (int(cpu), int(memory), int(gpu)) for group, (cpu, memory, gpu) in found.items()}

    def of_person(self, owner: str, time: float) -> list[tuple[str, int, int]]:
        """Groups in which attempts of a person have ended by then, how many in each, and their GPUs."""
        held = self._held
        theirs = np.flatnonzero((held.owner == held.owners.get(owner, -1)) & (held.ends <= time)).tolist()
        ended = [(held.groups[held.group[n]], 1, int(held.gpus[n])) for n in theirs]
        ended += [
            (group, sign, sign * sum(placement.need.gpu for placement in placements))
            for end, group, whose, placements, sign in self._fresh
            if whose == owner and end <= time
        ]
        return ended

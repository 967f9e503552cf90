"""What one person may still have, for every row whose group limits it; kept from pass to pass."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .columns import Columns
from .nodes import Ids, Mask
from .quota import Quotas
from .resource_tree import UNLIMITED

__all__ = ["Persons"]


class Persons:
    """Persons as members of the groups for which they have something waiting.

    It serves columns and limits that stay the same objects, and passes one after the other.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._limited: list[bool] = []  # of each group
        self._is_limited: Mask = np.zeros(0, np.bool_)  # of each person
        self._of_owner: dict[str, list[int]] = {}
        self._left: NDArray[np.int64] = np.zeros((0, 2), dtype=np.int64)  # attempts, GPUs
        self._stale: set[str] = set()  # owners
        self._started: set[str] = set()  # the same, once more when the next pass begins without them

    def stale(self, owners: Iterable[str]) -> None:
        """What counts against these has changed since it was looked at."""
        self._stale.update(owners)

    def begin(self, quotas: Quotas) -> None:
        """Look at who is new and at what has changed, when a pass begins."""
        self._stale |= self._started
        self._started.clear()
        self._look(quotas)

    def _look(self, quotas: Quotas) -> None:
        members = self._columns.persons
        new = members[len(self._left) :]
        if new:
            groups = self._columns.groups
            self._limited += [bool(quotas.person_limits(g)) for g in groups[len(self._limited) :]]
            more = np.full((len(new), 2), UNLIMITED, dtype=np.int64)
            for number, (group, owner) in enumerate(new, len(self._left)):
                if self._limited[group]:
                    self._of_owner.setdefault(owner, []).append(number)
                    more[number - len(self._left)] = quotas.left_for(groups[group], owner)
            self._left = np.concatenate([self._left, more])
            self._is_limited = np.array(self._limited, dtype=np.bool_)[[group for group, _ in members]]
        for owner in self._stale:
            for number in self._of_owner.get(owner, ()):
                group, _ = members[number]
                self._left[number] = quotas.left_for(self._columns.groups[group], owner)
        self._stale.clear()

    def refused(self, gpus: Ids) -> Mask:
        """Rows in whose way a limit of their owner stands; ``gpus``: of each row."""
        found = np.zeros(len(self._columns), np.bool_)
        self._refuse(found, np.flatnonzero(self._is_limited[self._columns.person]), gpus)
        return found

    def again(self, quotas: Quotas, refused: Mask, owners: set[str], gpus: Ids) -> None:
        """Bring what was `refused` in step with what a pass let some owners start."""
        self._started |= owners
        self._stale |= owners
        self._look(quotas)
        changed = np.zeros(len(self._left), np.bool_)
        for owner in owners:
            changed[self._of_owner.get(owner, [])] = True
        if changed.any():
            self._refuse(refused, np.flatnonzero(changed[self._columns.person]), gpus)

    def _refuse(self, refused: Mask, rows: Ids, gpus: Ids) -> None:
        attempts, left = self._left[self._columns.person[rows]].T
        refused[rows] = (attempts < 1) | ((gpus[rows] > left) & (gpus[rows] > 0))

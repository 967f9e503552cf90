"""Each line that waits with each of its ways, as columns; the pairs of one line lie together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .columns import Columns
from .forms import Forms
from .nodes import Ids, Mask, Room
from .quota import Quotas
from .resource_tree import UNLIMITED

__all__ = ["Numbers", "Pairs", "View"]

Numbers = NDArray[np.int64]


class Pairs:
    """Lines are those that have a way at all; ``line`` says of every row which is its, or -1."""

    def __init__(self, forms: Forms, columns: Columns) -> None:
        slots = np.flatnonzero(np.bincount(columns.slot, minlength=len(columns.slot_shape)))
        shape = columns.slot_shape[slots]
        counts = forms.first[shape + 1] - forms.first[shape]
        some = counts > 0
        slots, shape, counts = slots[some], shape[some], counts[some]
        line = np.full(len(columns.slot_shape), -1, dtype=np.int64)
        line[slots] = np.arange(len(slots))
        self.line: Ids = line[columns.slot]
        self._begins: Ids = np.cumsum(counts) - counts
        self.way: Ids = np.repeat(forms.first[shape] - self._begins, counts) + np.arange(int(counts.sum()))
        self.group: Ids = np.repeat(columns.slot_group[slots], counts)
        takes = forms.way_takes[self.way + 1] - forms.way_takes[self.way]
        begins = np.cumsum(takes) - takes
        self.take_pair: Ids = np.repeat(np.arange(len(takes)), takes)
        number = np.repeat(forms.way_takes[self.way] - begins, takes) + np.arange(int(takes.sum()))
        self.take_place: Ids = forms.take_place[number]
        self.take_amount: Numbers = forms.take_amount[number]
        self.take_group: Ids = self.group[self.take_pair]

    def __len__(self) -> int:
        return len(self.way)

    def any(self, pairs: Mask) -> Mask:
        """Rows one of whose line's pairs is among these."""
        return self._of_rows(np.logical_or.reduceat(pairs, self._begins) if len(pairs) else pairs, fill=False)

    def most(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """For each row, the largest of its line's pairs; minus infinity if there is none."""
        return self._of_rows(
            np.maximum.reduceat(values, self._begins) if len(values) else values, fill=-np.inf
        )

    def _of_rows(self, of_lines: NDArray, fill: object) -> NDArray:  # type: ignore[type-arg]
        return np.append(of_lines, np.array([fill], dtype=of_lines.dtype))[self.line]


class View:
    """Room and quotas as they are open to some, as they were when last looked at.

    Attributes
    ----------
    counts, sums
        Of every ask: replicas that there is room for, and what is left on all its nodes.
    bounds
        `Quotas.bounds` of every pool.
    within
        Pairs that quotas allow.
    """

    def __init__(self, forms: Forms, pairs: Pairs, groups: list[str]) -> None:
        self._forms, self._pairs, self._groups = forms, pairs, groups
        asks = int(forms.ask_begins[-1])
        self.counts: Numbers = np.zeros(asks, dtype=np.int64)
        self.sums: Numbers = np.zeros((asks, 3), dtype=np.int64)
        self.bounds: Numbers = np.full((3, len(forms.places), len(groups), 3), UNLIMITED, dtype=np.int64)
        self.within: Mask = np.ones(len(pairs), np.bool_)

    def copy(self) -> View:
        """The same numbers, to look on from here."""
        other = View.__new__(View)
        other._forms, other._pairs, other._groups = self._forms, self._pairs, self._groups
        other.counts, other.sums = self.counts.copy(), self.sums.copy()
        other.bounds, other.within = self.bounds.copy(), self.within.copy()
        return other

    def look(self, places: list[int], room: Room, quotas: Quotas) -> None:
        """Look at some pools."""
        forms, pairs = self._forms, self._pairs
        limited = False
        for place in places:
            part = slice(*forms.ask_begins[place : place + 2].tolist())
            self.counts[part], self.sums[part] = forms.count(place, room)
            bounds = quotas.bounds(forms.places[place], self._groups)
            if bounds is not None:
                self.bounds[:, place] = bounds
                limited = True
        if not limited:
            return
        among = np.zeros(len(forms.places), np.bool_)
        among[places] = True
        affected = np.zeros(len(pairs), np.bool_)
        affected[pairs.take_pair[among[pairs.take_place]]] = True
        self.within[affected] = True
        takes = np.flatnonzero(affected[pairs.take_pair])
        self.within[pairs.take_pair[takes[self.over(takes, 0)]]] = False

    def fits(self) -> Mask:
        """Ways with enough room for each role alone, and for all roles in all."""
        forms = self._forms
        return forms.fitting(self.counts) & ~forms.short(self.sums)

    def over(self, takes: Ids, bound: int) -> Mask:
        """Which of these takes are more than one of the three bounds allows."""
        pairs = self._pairs
        place, group = pairs.take_place[takes], pairs.take_group[takes]
        found = np.zeros(len(takes), np.bool_)
        for column in range(3):
            limits = self.bounds[bound, :, :, column]
            if limits.min(initial=UNLIMITED) < UNLIMITED:
                amount = pairs.take_amount[takes, column]
                found |= (amount > limits[place, group]) & (amount > 0)
        return found

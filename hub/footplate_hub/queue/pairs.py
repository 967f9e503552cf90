"""Each line with each of its ways, as columns; the pairs of one line lie together."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .columns import Columns
from .forms import Forms
from .nodes import Ids, Mask, Room
from .quota import Quotas
from .resource_tree import UNLIMITED

__all__ = ["Numbers", "Pairs", "View"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Takes:
    """What pairs take of one pool: numbers of takes, their groups, and the amounts (resources × takes)."""

    numbers: Ids
    groups: Ids
    amounts: Numbers


class Pairs:
    """Of every line that has a way at all, be it gone meanwhile or not.

    Attributes
    ----------
    line
        Of every row, its line here, or the last one, which has no pairs.
    """

    def __init__(self, forms: Forms, columns: Columns) -> None:
        self.slots = len(columns.slot_shape)
        shape = columns.slot_shape
        counts = forms.first[shape + 1] - forms.first[shape]
        slots = np.flatnonzero(counts)
        shape, counts = shape[slots], counts[slots]
        self._of_slot: Ids = np.full(self.slots, len(slots), dtype=np.int64)
        self._of_slot[slots] = np.arange(len(slots))
        self._begins: Ids = np.cumsum(counts) - counts
        self._line: Ids = np.repeat(np.arange(len(slots)), counts)  # of each pair
        self.way: Ids = np.repeat(forms.first[shape] - self._begins, counts) + np.arange(int(counts.sum()))
        self.group: Ids = np.repeat(columns.slot_group[slots], counts)
        takes = forms.way_takes[self.way + 1] - forms.way_takes[self.way]
        begins = np.cumsum(takes) - takes
        self.take_begins: Ids = begins
        self.take_pair: Ids = np.repeat(np.arange(len(takes)), takes)
        number = np.repeat(forms.way_takes[self.way] - begins, takes) + np.arange(int(takes.sum()))
        place, amount = forms.take_place[number], forms.take_amount[number]
        by_place = np.argsort(place, kind="stable")
        bounds = np.searchsorted(place[by_place], np.arange(len(forms.places) + 1))
        takes_of = [by_place[begin:end] for begin, end in itertools.pairwise(bounds.tolist())]
        group = self.group[self.take_pair]
        self.takes_of = [Takes(of, group[of], amount[of].T.copy()) for of in takes_of]
        self.rows(columns)

    def rows(self, columns: Columns) -> None:
        """Be asked about these rows from here on; their lines must be known."""
        self.line: Ids = self._of_slot[columns.slot]

    def __len__(self) -> int:
        return len(self.way)

    def any(self, pairs: Mask) -> Mask:
        """Rows one of whose line's pairs is among these."""
        found = np.zeros(len(self._begins) + 1, np.bool_)
        found[self._line[pairs]] = True
        return found[self.line]

    def latest(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """For each row, the largest of its line's pairs; minus infinity, as in most, if there is none."""
        some = np.flatnonzero(times > -np.inf)
        found = np.full(len(self._begins) + 1, -np.inf)
        np.maximum.at(found, self._line[some], times[some])
        return found[self.line]

    def most(self, values: Numbers, fill: int) -> Numbers:
        """For each row, the largest of its line's pairs; ``fill`` if there is none."""
        found = np.maximum.reduceat(values, self._begins) if len(values) else values
        return np.append(found, fill)[self.line]


class View:
    """Room and quotas as they are open to some, as they were when last looked at.

    Attributes
    ----------
    sums
        Of every ask: what is left on all its nodes.
    fits
        Ways with enough room for each role alone, and for all roles in all.
    within
        Pairs that quotas allow.
    """

    def __init__(self, forms: Forms, pairs: Pairs, groups: list[str]) -> None:
        self._forms, self._pairs, self._groups = forms, pairs, groups
        asks = int(forms.ask_begins[-1])
        self._counts: Numbers = np.zeros(asks, dtype=np.int64)
        self.sums: Numbers = np.zeros((asks, 3), dtype=np.int64)
        self._found: list[object] = [None] * len(forms.places)
        self._bounds: list[Numbers | None] = [None] * len(forms.places)
        self._over: Mask = np.zeros(len(pairs.take_pair), np.bool_)
        self.fits: Mask = np.zeros(len(forms), np.bool_)
        self.within: Mask = np.ones(len(pairs), np.bool_)

    def copy(self) -> View:
        """The same, to look on from here."""
        other = copy.copy(self)
        other._counts, other.sums = self._counts.copy(), self.sums.copy()
        other._found, other._bounds = list(self._found), list(self._bounds)
        other._over = self._over.copy()
        return other

    def look(self, places: list[int], room: Room, quotas: Quotas) -> None:
        """Look at some pools."""
        forms, pairs = self._forms, self._pairs
        room_changed = quota_changed = False
        for place in places:
            found = forms.count(place, room)
            if found is not self._found[place]:
                self._found[place] = found
                part = slice(*forms.ask_begins[place : place + 2].tolist())
                self._counts[part], self.sums[part] = found
                room_changed = True
            bounds = quotas.bounds(forms.places[place], self._groups)
            if bounds is not None and bounds is not self._bounds[place]:
                self._bounds[place] = bounds
                takes = pairs.takes_of[place]
                self._over[takes.numbers] = _beyond(takes, bounds[0])
                quota_changed = True
        if room_changed:
            self.fits = forms.fitting(self._counts) & ~forms.short(self.sums)
        if quota_changed and len(pairs):
            self.within = ~np.logical_or.reduceat(self._over, pairs.take_begins)

    def beyond(self, bound: int) -> Mask:
        """Pairs that quotas do not allow, and that take more than one of the bounds of `Quotas.bounds`."""
        pairs = self._pairs
        found = np.zeros(len(pairs), np.bool_)
        for takes, bounds in zip(pairs.takes_of, self._bounds, strict=True):
            if bounds is not None:
                some = np.flatnonzero(self._over[takes.numbers])
                those = Takes(takes.numbers[some], takes.groups[some], takes.amounts[:, some])
                found[pairs.take_pair[those.numbers[_beyond(those, bounds[bound])]]] = True
        return found


def _beyond(takes: Takes, most: Numbers) -> Mask:
    """Which takes of one pool are more than their groups may have of it (groups × resources)."""
    found = np.zeros(len(takes.numbers), np.bool_)
    for amount, limit in zip(takes.amounts, most.T, strict=True):
        if limit.min(initial=UNLIMITED) < UNLIMITED:
            found |= amount > np.maximum(limit, 0)[takes.groups]  # nobody is refused for asking nothing
    return found

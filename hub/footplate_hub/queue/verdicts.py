"""Why each one stays, as numbers at once, and as sentences when somebody asks."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import overload

import numpy as np

from footplate_spec.reasons import Reason, ReasonCode

from .columns import Columns
from .explain import Explainer
from .forms import Forms
from .model import Blocked, Reservation, Workload
from .nodes import Ids, Mask
from .orders import Use
from .sequence import arrange

__all__ = ["CODES", "UNKNOWN", "Verdicts"]

CODES = list(ReasonCode)
UNKNOWN = len(CODES)
_RESERVED = CODES.index(ReasonCode.RESERVED_FOR_AHEAD)
_LIMITED = CODES.index(ReasonCode.LIMIT_REACHED)


class Verdicts(Sequence[Blocked]):
    """Those who stay, grouped by line and reason.

    Parameters
    ----------
    codes
        Of every row, `UNKNOWN` where numbers do not tell it.
    by_owner
        Whether it matters whose a workload is.
    stays
        Rows.
    told, kept
        Reasons that are known, and what is reserved, by row.
    judge
        Finds the code of a workload and the number of its shape.

    Attributes
    ----------
    workloads
        Those who stay, by rank.
    numbers, numbering
        A number for each that stays its own from pass to pass, as long as the numbering is the same object.
    """

    def __init__(
        self,
        columns: Columns,
        forms: Forms,
        *,
        codes: Ids,
        by_owner: bool,
        stays: Mask,
        told: dict[int, Reason],
        kept: dict[int, Reservation],
        judge: Callable[[Workload, int], ReasonCode],
        explainer: Explainer,
        use: Use,
    ) -> None:
        self._rows = np.flatnonzero(stays)
        self.workloads = columns.workloads[self._rows]
        self._codes = codes[self._rows]
        self._judge = judge
        self.numbers = columns.number[self._rows]
        self.numbering = columns.numbering
        self._reasons: dict[object, Reason] = {}
        self._slots = columns.slot[self._rows]
        self._waits = columns.waits[self._rows]
        self._shapes = columns.slot_shape[self._slots]
        self._members = columns.members
        self._prospects = forms.prospects
        self._told = told
        self._kept = kept
        self._explainer = explainer
        self._use = use
        self._by_owner = by_owner

    @cached_property
    def codes(self) -> Ids:
        """The code of each, as a number in `CODES`."""
        codes = self._codes
        known: dict[object, int] = {}
        for i in np.flatnonzero(codes == UNKNOWN).tolist():
            workload = self.workloads[i]
            key = (self._slots[i], workload.time_limit, workload.owner if self._by_owner else "")
            if key not in known:
                known[key] = CODES.index(self._judge(workload, int(self._shapes[i])))
            codes[i] = known[key]
        return codes

    @cached_property
    def positions(self) -> Ids:
        """The place in line of each of ``workloads``, from 1, as the orders would have it now."""
        places = np.empty(len(self._rows), dtype=np.int64)
        places[self._in_turn] = np.arange(1, len(places) + 1)
        return places

    @cached_property
    def _in_turn(self) -> Ids:
        """Numbers of ``workloads`` in the order of their turns."""
        return np.searchsorted(self._rows, arrange(self._rows, self._members, self._use))

    def ahead(self, workload: Workload) -> list[str] | None:
        """Who has their turn before one that stays; those who may not start yet are in nobody's way.

        Returns
        -------
        list of str or None
            Their ids in the order of their turns; None if the pass did not see the workload.
        """
        number = self.find(workload)
        if number is None:
            return None
        before = self._in_turn[: int(self.positions[number]) - 1]
        return [w.id for w in self.workloads[before[~self._waits[before]]]]

    def find(self, workload: Workload) -> int | None:
        """Its place among ``workloads``; None if the pass did not see it."""
        at = bisect.bisect_left(self.workloads, workload.rank, key=lambda w: w.rank)
        return at if at < len(self.workloads) and self.workloads[at] is workload else None

    def __bool__(self) -> bool:
        return len(self._rows) > 0

    @cached_property
    def _blocked(self) -> list[Blocked]:
        groups: dict[object, list[int]] = {}
        rows, slots, codes = self._rows.tolist(), self._slots.tolist(), self.codes.tolist()
        for i, workload in enumerate(self.workloads):
            own = self._own(rows[i], workload, codes[i])
            groups.setdefault((slots[i], codes[i], own), []).append(i)
        return [
            Blocked(
                tuple(self.workloads[i] for i in members),
                CODES[codes[members[0]]],
                _Tell(self, members[0]),
            )
            for members in groups.values()
        ]

    def _own(self, row: int, workload: Workload, code: int) -> object:
        """What tells its reason apart from those of others of its line with the same code."""
        if row in self._told or row in self._kept:
            return workload.id
        if workload.waits is not None:
            return id(workload.waits)
        # What it would hold or spend, and what its owner has.
        return (workload.time_limit, workload.owner) if code in {_RESERVED, _LIMITED} else None

    def reason(self, number: int) -> Reason:
        """The reason of one of ``workloads``; those who share it share the object."""
        row, code = int(self._rows[number]), int(self.codes[number])
        key = (int(self._slots[number]), code, self._own(row, self.workloads[number], code))
        if key not in self._reasons:
            self._reasons[key] = self._explained(number)
        return self._reasons[key]

    def _explained(self, number: int) -> Reason:
        told = self._told.get(int(self._rows[number]))
        if told is not None:
            return told
        workload: Workload = self.workloads[number]
        prospect = self._prospects[self._shapes[number]]
        reservation = self._kept.get(int(self._rows[number]))
        return self._explainer.explain(workload, prospect, reservation, code=CODES[self.codes[number]])

    @overload
    def __getitem__(self, index: int) -> Blocked: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Blocked]: ...

    def __getitem__(self, index: int | slice) -> Blocked | Sequence[Blocked]:
        return self._blocked[index]

    def __iter__(self) -> Iterator[Blocked]:
        return iter(self._blocked)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(tuple(self.codes.tolist()))

    def __len__(self) -> int:
        return len(self._blocked)


class _Tell:
    """Finds a reason when it is asked for."""

    __slots__ = ("_number", "_verdicts")

    def __init__(self, verdicts: Verdicts, number: int) -> None:
        self._verdicts, self._number = verdicts, number

    def __call__(self) -> Reason:
        return self._verdicts.reason(self._number)

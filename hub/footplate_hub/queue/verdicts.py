"""Why each one stays, as numbers at once, and as sentences when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

__all__ = ["CODES", "Verdicts"]

CODES = list(ReasonCode)


class Verdicts(Sequence[Blocked]):
    """Those who stay, grouped by line and reason.

    Attributes
    ----------
    workloads
        Those who stay, by rank.
    codes
        The code of each, as a number in `CODES`.
    """

    def __init__(
        self,
        columns: Columns,
        forms: Forms,
        *,
        codes: Ids,
        stays: Mask,
        told: dict[int, Reason],
        kept: dict[int, Reservation],
        explainer: Explainer,
        use: Use,
    ) -> None:
        self._rows = np.flatnonzero(stays)
        self.workloads = columns.workloads[self._rows]
        self.codes = codes[self._rows]
        self._slots = columns.slot[self._rows]
        self._shapes = columns.slot_shape[self._slots]
        self._members = columns.members
        self._prospects = forms.prospects
        self._told = told
        self._kept = kept
        self._explainer = explainer
        self._use = use

    @cached_property
    def positions(self) -> Ids:
        """The place in line of each of ``workloads``, from 1, as the orders would have it now."""
        arranged = arrange(self._rows, self._members, self._use)
        places = np.empty(len(arranged), dtype=np.int64)
        places[np.searchsorted(self._rows, arranged)] = np.arange(1, len(arranged) + 1)
        return places

    @cached_property
    def _blocked(self) -> list[Blocked]:
        groups: dict[object, list[int]] = {}
        reserved = CODES.index(ReasonCode.RESERVED_FOR_AHEAD)
        limited = CODES.index(ReasonCode.LIMIT_REACHED)
        rows, slots, codes = self._rows.tolist(), self._slots.tolist(), self.codes.tolist()
        for i, workload in enumerate(self.workloads):
            own: object = None
            if rows[i] in self._told or rows[i] in self._kept:
                own = workload.id
            elif workload.waits is not None:
                own = id(workload.waits)
            elif codes[i] == reserved:
                own = (workload.time_limit, workload.owner)
            elif codes[i] == limited:
                own = (workload.owner,)
            groups.setdefault((slots[i], codes[i], own), []).append(i)
        return [
            Blocked(
                tuple(self.workloads[i] for i in members),
                CODES[codes[members[0]]],
                _Tell(self, members[0]),
            )
            for members in groups.values()
        ]

    def reason(self, number: int) -> Reason:
        """The reason of one of ``workloads``."""
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

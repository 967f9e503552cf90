"""Who need be looked at in a pass, and the code of everyone who need not: all at once, as numbers.

It is never too strict: whoever could start, have others stopped or have nodes kept is among its candidates.
Of ways whose roles may compete for the same nodes it looks at each role alone.
"""

from __future__ import annotations

import numpy as np

from footplate_spec.reasons import ReasonCode

from .admission import held_at, held_group
from .budget_rows import BudgetRows
from .memory import Recalled
from .model import Snapshot
from .nodes import Ids, Mask
from .occupied import Occupied
from .standing import Standing
from .verdicts import CODES, UNKNOWN

__all__ = ["Screen"]

_NUMBER = {code: number for number, code in enumerate(CODES)}


class Screen:
    """The lines of a snapshot, and what stands for them as far as it was looked at."""

    def __init__(self, snapshot: Snapshot, recalled: Recalled, standing: Standing) -> None:
        forms, columns, persons = recalled.forms, recalled.columns, recalled.persons
        self._forms, self._columns, self._standing = forms, columns, standing
        self._pairs = recalled.pairs
        self._free = self._open = self._late = recalled.free
        self._free.look(list(range(len(forms.places))), standing.free, standing.quotas)
        standing.changed.clear()
        self._kept = np.zeros(len(forms), np.bool_)
        self._persons, self._gpus = persons, forms.gpus[columns.slot_shape[columns.slot]]
        persons.begin(standing.quotas)
        self._refused = persons.refused(self._gpus)
        self._budgets = BudgetRows(columns, forms, standing.budgets)
        held = [held_at(snapshot, cluster) for cluster in forms.nodes.clusters]
        of_cluster = np.array([_NUMBER[h.code] if h else UNKNOWN for h in held], dtype=np.int64)
        self._held_code = of_cluster[forms.way_cluster] if len(forms) else np.zeros(0, np.int64)
        by_group = [held_group(snapshot, group) for group in columns.groups]
        of_group = np.array([_NUMBER[h.code] if h else UNKNOWN for h in by_group], dtype=np.int64)
        self._group_code = of_group[columns.group]
        self._stays_code = np.full(len(columns), UNKNOWN)
        waiting = np.flatnonzero(columns.waits)
        self._stays_code[waiting] = [_NUMBER[w.waits.code] for w in columns.workloads[waiting]]
        self.stays: Mask = columns.waits | (self._group_code < UNKNOWN)
        self._may_start = (self._held_code == UNKNOWN) & forms.fits
        self._entitled = self._who_may_stop_others(recalled.occupied)

    @property
    def size(self) -> int:
        """Pairs of line and way."""
        return len(self._pairs)

    @property
    def fits(self) -> Mask:
        """Ways with enough that is free for each role alone, and for all roles in all."""
        return self._free.fits

    @property
    def short(self) -> Mask:
        """Ways that take more than is free in all."""
        return self._forms.short(self._free.sums)

    # Candidates

    def candidates(self, now: float) -> Mask:
        """Rows that must be considered."""
        pairs, forms, standing, columns = self._pairs, self._forms, self._standing, self._columns
        fits = self._free.fits
        fits_open = fits if self._open is self._free else fits & self._open.fits
        fits_late = fits_open if self._late is self._open else fits_open & self._late.fits
        starts = forms.starts(standing.starts)
        starts[forms.touching(standing.closed)] = -np.inf
        now_or_never = (self._may_start & fits_open)[pairs.way] & self._free.within
        if self._open is not self._free:
            now_or_never &= self._open.within
        late = fits_late[pairs.way]
        if self._late is not self._open:
            late &= self._late.within
        late |= forms.way_mixes[pairs.way]
        until = starts[pairs.way]
        until[late & (until > -np.inf)] = np.inf
        until[~now_or_never] = -np.inf
        self._starting = now + columns.limit <= pairs.latest(until)
        self._short_of_room = (self._may_start & (~fits | forms.way_competes))[pairs.way] & self._free.within
        return self.after_reserving()

    def after_reserving(self) -> Mask:
        """The same where nothing changed since but what is reserved."""
        forms, standing = self._forms, self._standing
        reserved = forms.touching(standing.starts) | forms.touching(standing.closed)
        waits = self._pairs.any(self._short_of_room & ~reserved[self._pairs.way])
        able = ~self._refused & ~self._budgets.refused & ~self.stays
        return np.asarray((self._starting | waits | self._entitled) & able)

    def _who_may_stop_others(self, occupied: Occupied) -> Mask:
        """Rows above the lowest that run, or whose group might take back what is its own."""
        columns, pairs = self._columns, self._pairs
        if not occupied.preemptible:
            return columns.owed
        above = columns.priority > occupied.lowest(columns.groups)[columns.group]
        standing, forms = self._standing, self._forms
        reclaims = np.zeros(len(pairs), np.bool_)
        for number, place in enumerate(forms.places):
            bound = standing.quotas.reclaimable(place, columns.groups)
            if (bound >= 0).any():
                takes = pairs.takes_of[number]
                within = np.zeros(len(takes.numbers), np.bool_)
                for amount, own in zip(takes.amounts, bound.T, strict=True):
                    within |= (amount <= own[takes.groups]) & (amount > 0)
                reclaims[pairs.take_pair[takes.numbers[within]]] = True
        if not forms.places or (not reclaims.any() and not above.any()):
            return columns.owed
        # Nobody starts who would not even if all that could be stopped for anybody were gone.
        most = int(columns.priority[above].max(initial=np.iinfo(np.int64).min))
        held = occupied.stoppable(standing.quotas, forms.places, below=most)
        room = standing.free + standing.coming + held
        counts = [forms.count(place, room)[0] for place in range(len(forms.places))]
        somebody = [place for place in forms.places if held[forms.nodes.pools[place]].any()]
        may = self._may_start & forms.fitting(np.concatenate(counts)) & forms.touching(somebody)
        lower = pairs.any(may[pairs.way]) & above
        return np.asarray(lower | columns.owed | pairs.any(reclaims & may[pairs.way]))

    def look_again(self) -> bool:
        """Take in what changed since it was looked at; whether anything did."""
        standing, forms = self._standing, self._forms
        if standing.started:
            self._persons.again(standing.quotas, self._refused, standing.started, self._gpus)
            standing.started.clear()
        self._budgets.look_again()
        if not standing.changed:
            return False
        places = [number for number, place in enumerate(forms.places) if place in standing.changed]
        standing.changed.clear()
        if self._open is self._free and standing.open is not standing.free:
            same = self._late is self._free
            self._open = self._free.copy()
            self._late = self._open if same else self._late
        if self._late is self._open and standing.late is not standing.open:
            self._late = self._open.copy()
        self._free.look(places, standing.free, standing.quotas)
        if self._open is not self._free:
            self._open.look(places, standing.open, standing.quotas_open)
        if self._late is not self._open:
            foreseen = standing.foreseen
            self._late.look(places, standing.late, foreseen.quotas if foreseen else standing.quotas_open)
        self._kept = forms.touching(standing.starts) | forms.touching(standing.closed)
        self._kept |= self._open is not self._free
        return True

    # Codes

    def codes(self) -> Ids:
        """The number of every row's code in `CODES` as far as numbers tell; `UNKNOWN` where they do not."""
        pairs, forms = self._pairs, self._forms
        way = np.minimum(self._held_code, forms.never_codes())
        ever = forms.never_codes() == UNKNOWN
        fits, short = self.fits, self.short
        full = np.where(
            short, _NUMBER[ReasonCode.WAITING_FOR_CAPACITY], _NUMBER[ReasonCode.TOPOLOGY_PLACEMENT_FAILED]
        )
        way = np.where(ever & ~fits, np.minimum(way, full), way)
        kept = self._kept & ~forms.way_competes
        code = way[pairs.way]
        lacking = np.flatnonzero(~self._free.within)
        if lacking.size:
            quota = np.full(len(pairs), _NUMBER[ReasonCode.WAITING_FOR_QUOTA])
            quota[self._free.beyond(1)] = _NUMBER[ReasonCode.BORROWING_LIMIT_REACHED]
            quota[self._free.beyond(2)] = _NUMBER[ReasonCode.EXCEEDS_MAX_QUOTA]
            code[lacking] = np.minimum(code[lacking], quota[lacking])
        code = np.where((code == UNKNOWN) & kept[pairs.way], _NUMBER[ReasonCode.RESERVED_FOR_AHEAD], code)
        rows = pairs.most(code, _NUMBER[ReasonCode.NO_MATCHING_FLAVOR])
        found = np.minimum(np.minimum(rows, self._stays_code), self._group_code)
        refused = self._refused | self._budgets.refused
        found[refused] = np.minimum(found[refused], _NUMBER[ReasonCode.LIMIT_REACHED])
        found[self._budgets.some] = UNKNOWN  # each way has a code of its own
        return np.asarray(found)

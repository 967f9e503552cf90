"""Why a workload does not start, from the same numbers that decided it, as they stood when it was its turn.

Every way to run a workload is judged on its own; what is shown is the way that comes closest to starting,
with all causes that hold for it, the most fundamental first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from footplate_spec.reasons import Reason, ReasonCode, dominant

from . import never, room_reasons
from .admission import held_at, held_group
from .budget_reasons import budget_reason, kept_budget
from .fit import feasible
from .model import Reservation, Snapshot, Workload
from .nodes import Mask, Nodes
from .prospects import Prospect, Way
from .quota_reasons import person_reason, quota_reason
from .standing import Standing

__all__ = ["Explainer", "Seen"]

_ROOM = {ReasonCode.WAITING_FOR_CAPACITY, ReasonCode.TOPOLOGY_PLACEMENT_FAILED}
_ORDER = {code: place for place, code in enumerate(ReasonCode)}


def _closeness(reason: Reason) -> tuple[int, ...]:
    """Larger is closer to starting: less fundamental causes, and fewer of them; or else better nodes."""
    codes = dict.fromkeys(cause.code for cause in (reason, *reason.causes))
    nodes = reason.numbers.get("nodes", reason.numbers.get("largest", {}).get("gpu", 0))
    return (*(_ORDER[code] for code in codes), len(_ORDER), nodes)


@dataclass(frozen=True)
class Seen:
    """What numbers tell already of the ways of a shape.

    Parameters
    ----------
    fits
        Ways with room for each role alone.
    short
        Ways that take more than is left in all.
    """

    fits: Mask
    short: Mask

    def room(self, way: Way) -> ReasonCode:
        """The code of a way that does not fit."""
        short = self.short[way.number]
        return ReasonCode.WAITING_FOR_CAPACITY if short else ReasonCode.TOPOLOGY_PLACEMENT_FAILED


class Explainer:
    """Finds reasons within one pass."""

    def __init__(self, snapshot: Snapshot, nodes: Nodes, standing: Standing, now: float) -> None:
        self._snapshot = snapshot
        self._nodes = nodes
        self._standing = standing
        self._now = now
        self._never: dict[tuple[int, int], Reason | None] = {}
        self._full: dict[tuple[int, int], Reason] = {}
        self._fitting: dict[tuple[int, int], bool] = {}
        self._seen = standing.changes

    def explain(
        self,
        workload: Workload,
        prospect: Prospect,
        reservation: Reservation | None = None,
        *,
        code: ReasonCode | None = None,
    ) -> Reason:
        """The one reason that is shown for a workload, with the other causes that hold.

        Parameters
        ----------
        reservation
            What is kept for it.
        code
            What the pass found when it was its turn: causes that dominate it came later, and are not told.
        """
        common = self._whatever_is_free(workload, prospect)
        if not prospect.ways:
            return dominant([*common, never.no_way(self._nodes, prospect.shape)])
        judged = [
            dominant(common + self._causes(workload, prospect, way) or [room_reasons.unexplained()])
            for way in prospect.ways
        ]
        reason = max(judged, key=_closeness)
        if code is not None and reason.code != code:
            reason = self._as_it_was(workload, prospect, judged, code)
        if reason.code not in _ROOM:
            return reason
        if reservation is None:
            return room_reasons.with_end(reason)
        return room_reasons.with_start(reason, reservation, self._now)

    def code(self, workload: Workload, prospect: Prospect, seen: Seen | None = None) -> ReasonCode:
        """The code of `explain`, at a fraction of its cost."""
        common = [reason.code for reason in self._whatever_is_free(workload, prospect)]
        if not prospect.ways:
            return min([*common, ReasonCode.NO_MATCHING_FLAVOR], key=_ORDER.__getitem__)
        codes = [
            min([*common, *self._codes(workload, prospect, way, seen)], key=_ORDER.__getitem__)
            for way in prospect.ways
        ]
        return max(codes, key=_ORDER.__getitem__)

    def _codes(self, workload: Workload, prospect: Prospect, way: Way, seen: Seen | None) -> list[ReasonCode]:
        standing = self._standing
        held = held_at(self._snapshot, way.option.cluster)
        codes = [held.code] if held is not None else []
        codes += [quota_reason(s).code for s in standing.quotas.shortages(workload.group, way.demand)]
        if not standing.budgets.allows(workload.group, way.demand, workload.time_limit):
            codes.append(ReasonCode.LIMIT_REACHED)
        never = self._cached_never(prospect, way)
        if never is not None:
            return [*codes, never.code]
        if seen is not None and not seen.fits[way.number]:
            return [*codes, seen.room(way)]
        if not self._fits_now(prospect, way):
            short = room_reasons.short_of(self._nodes, prospect, way.option, standing.free)
            room = ReasonCode.WAITING_FOR_CAPACITY if short else ReasonCode.TOPOLOGY_PLACEMENT_FAILED
            return [*codes, room]
        keeps = standing.keeps or self._kept(workload, prospect, way)
        return codes or [ReasonCode.RESERVED_FOR_AHEAD if keeps else ReasonCode.PENDING_EVALUATION]

    def _as_it_was(
        self, workload: Workload, prospect: Prospect, judged: list[Reason], code: ReasonCode
    ) -> Reason:
        """What told a code before more was added to it."""
        for reason in judged:
            causes = [reason.model_copy(update={"causes": []}), *reason.causes]
            causes = [cause for cause in causes if _ORDER[cause.code] >= _ORDER[code]]
            if causes and causes[0].code == code:
                return dominant(causes)
        if code == ReasonCode.RESERVED_FOR_AHEAD:
            way = next((way for way in prospect.ways if prospect.fits(way)), prospect.ways[0])
            return self._reserved(workload, way)
        return max(judged, key=lambda reason: _ORDER[reason.code]).model_copy(update={"code": code})

    def _whatever_is_free(self, workload: Workload, prospect: Prospect) -> list[Reason]:
        """Causes that hold for every way."""
        causes = [workload.waits] if workload.waits is not None else []
        held = held_group(self._snapshot, workload.group)
        if held is not None:
            causes.append(held)
        shortages = self._standing.quotas.person_shortages(workload.group, workload.owner, prospect.gpus)
        causes += [person_reason(shortage) for shortage in shortages]
        return causes

    def _causes(self, workload: Workload, prospect: Prospect, way: Way) -> list[Reason]:
        standing, causes = self._standing, []
        held = held_at(self._snapshot, way.option.cluster)
        if held is not None:
            causes.append(held)
        quotas = [quota_reason(s) for s in standing.quotas.shortages(workload.group, way.demand)]
        larger = [reason for reason in quotas if reason.code == ReasonCode.EXCEEDS_MAX_QUOTA]
        causes += larger or quotas  # what must be larger anyway is not also waited for
        short = standing.budgets.shortages(workload.group, way.demand, workload.time_limit)
        causes += [budget_reason(shortage) for shortage in short]
        never = self._cached_never(prospect, way)
        if never is not None:
            return [*causes, never]
        full = self._cached_full(prospect, way)
        if full is not None:
            causes.append(full)
        elif self._kept(workload, prospect, way) or (not causes and standing.keeps):
            # What was kept when it was its turn may be open now that others stop: the next pass will see.
            causes.append(self._reserved(workload, way))
        return causes

    def _cached_never(self, prospect: Prospect, way: Way) -> Reason | None:
        key = (prospect.number, way.number)
        if key not in self._never:
            self._never[key] = None if prospect.fits(way) else never.never(self._nodes, prospect, way.option)
        return self._never[key]

    def _cached_full(self, prospect: Prospect, way: Way) -> Reason | None:
        key = (prospect.number, way.number)
        if self._fits_now(prospect, way):
            return None
        if key not in self._full:
            self._full[key] = self._no_room(prospect, way)
        return self._full[key]

    def _fits_now(self, prospect: Prospect, way: Way) -> bool:
        if self._seen != self._standing.changes:
            self._seen = self._standing.changes
            self._full.clear()
            self._fitting.clear()
        key = (prospect.number, way.number)
        if key not in self._fitting:
            free = self._standing.free
            self._fitting[key] = feasible(self._nodes, free, prospect.mask, prospect.shape, way.option)
        return self._fitting[key]

    def _no_room(self, prospect: Prospect, way: Way) -> Reason:
        standing, option = self._standing, way.option
        pools = [self._nodes.pools[place] for place in option.places]
        next_end = standing.timeline.next_end(pools)
        ends_in = None if next_end is None else next_end - self._now
        return room_reasons.no_room(self._nodes, prospect, option, standing.free, ends_in=ends_in)

    def _kept(self, workload: Workload, prospect: Prospect, way: Way) -> bool:
        """Whether what is free is kept for those ahead."""
        standing, end = self._standing, self._standing.end(workload)
        room = standing.room(way.option, end)
        return (
            room is None
            or standing.kept_quota(workload.group, way.demand, end)
            or standing.kept_person(workload.group, workload.owner, prospect.gpus, end)
            or not standing.budgets_open.allows(workload.group, way.demand, workload.time_limit)
            or not feasible(self._nodes, room, prospect.mask, prospect.shape, way.option)
        )

    def _reserved(self, workload: Workload, way: Way) -> Reason:
        standing = self._standing
        spent = (workload.group, way.demand, workload.time_limit)
        if standing.budgets.allows(*spent) and not standing.budgets_open.allows(*spent):
            return kept_budget(standing.budgets_open.shortages(*spent)[0])
        starts = [standing.starts[place] for place in way.option.places if place in standing.starts]
        closed = any(place in standing.closed for place in way.option.places)
        start = min(starts or standing.starts.values(), default=math.inf)
        return room_reasons.reserved(way.option, start, workload.time_limit, self._now, closed=closed)

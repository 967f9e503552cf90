"""Why a workload does not start: computed in the pass, from the same numbers that decided it.

Every way to run a workload is judged on its own; what is shown is the way that comes closest to
starting, with all causes that hold for it, the most fundamental first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from footplate_spec.reasons import Reason, ReasonCode, dominant
from footplate_spec.units import format_seconds

from .fit import Mask, Nodes, Option, Room, demand, feasible
from .model import Amount, Line, Shape, Snapshot
from .quota import Quotas
from .quota_reasons import quota_reason
from .words import amount_words, list_words, need_words, quantity

__all__ = ["Explainer", "Moment", "held_cluster"]

_ORDER = list(ReasonCode)
_ROOM = {ReasonCode.WAITING_FOR_CAPACITY, ReasonCode.TOPOLOGY_PLACEMENT_FAILED, ReasonCode.RESERVED_FOR_AHEAD}


@dataclass(frozen=True)
class Moment:
    """The state of a pass: what is free, what is held for those ahead, what counts against quotas."""

    free: Room
    held: Mask
    quotas: Quotas


class Explainer:
    """Finds reasons within one pass."""

    def __init__(self, nodes: Nodes, snapshot: Snapshot, now: float) -> None:
        self._nodes = nodes
        self._snapshot = snapshot
        self._now = now
        self._static: dict[tuple[Shape, Option], Reason | None] = {}

    def explain(
        self,
        line: Line,
        ways: Sequence[Option],
        allowed: Mask,
        moment: Moment,
    ) -> tuple[Reason, list[Option]]:
        """The reason, and those options for which room alone is missing: their flavors are held."""
        if not ways:
            return self._no_option(line.shape), []
        judged = []
        for option in ways:
            causes = self._causes(line, option, allowed, moment)
            judged.append((dominant(causes), option))
        waits_for = [option for reason, option in judged if reason.code in _ROOM]
        closest = max(judged, key=lambda pair: _ORDER.index(pair[0].code))
        return closest[0], waits_for

    def _causes(self, line: Line, option: Option, allowed: Mask, moment: Moment) -> list[Reason]:
        shape = line.shape
        key = (shape, option)
        if key not in self._static:
            self._static[key] = self._never(shape, option, allowed)
        static = self._static[key]
        causes = [static] if static is not None else []
        held = held_cluster(self._snapshot, option.cluster)
        if held is not None:
            causes.append(held)
        shortages = moment.quotas.shortages(line.group, demand(shape, option))
        causes += [quota_reason(shortage) for shortage in shortages]
        if static is None:
            usable = allowed & self._nodes.usable
            if not feasible(self._nodes, moment.free, usable, shape, option):
                causes.append(self._no_room(shape, option, usable, moment.free))
            elif not causes or (moment.held & self._where(option)).any():
                causes.append(self._reserved(option))
        return causes or [_unexplained()]

    def _where(self, option: Option) -> Mask:
        places = [self._nodes.places[option.cluster, flavor] for flavor in option.flavors]
        return np.asarray(np.logical_or.reduce(places), dtype=np.bool_)

    def _never(self, shape: Shape, option: Option, allowed: Mask) -> Reason | None:
        """Why it would not start even on empty nodes, if so."""
        nodes, empty = self._nodes, self._nodes.capacity
        everywhere = np.ones(len(nodes.models), np.bool_)
        if feasible(nodes, empty, allowed & nodes.usable, shape, option):
            return None
        if not feasible(nodes, empty, everywhere, shape, option):
            return self._too_large(shape, option)
        flavors = list_words(sorted(set(option.flavors)))
        if not feasible(nodes, empty, allowed, shape, option):
            left = int((allowed & self._where(option)).sum())
            return Reason(
                code=ReasonCode.NODES_EXCLUDED,
                message=f"Needs {need_words(shape)}; of {int(self._where(option).sum())} nodes with flavor "
                f"{flavors}, its exclusions and labels leave {left}, which cannot hold it.",
                numbers={"nodes": int(self._where(option).sum()), "left": left},
            )
        out = [
            f"{node.name} ({node.unusable})"
            for i, node in enumerate(nodes.models)
            if node.unusable is not None and self._where(option)[i] and allowed[i]
        ]
        return Reason(
            code=ReasonCode.NODE_LOST,
            message=f"Needs {need_words(shape)}; without {list_words(out[:3])} "
            f"the nodes with flavor {flavors} cannot hold it.",
            numbers={"unusable": len(out)},
        )

    def _too_large(self, shape: Shape, option: Option) -> Reason:
        where = self._where(option)
        capacity = self._nodes.capacity[where]
        largest = Amount(*(int(value) for value in capacity.max(axis=0)))
        total = Amount(*(int(value) for value in capacity.sum(axis=0)))
        flavors = list_words(sorted(set(option.flavors)))
        return Reason(
            code=ReasonCode.NO_MATCHING_FLAVOR,
            message=f"Needs {need_words(shape)}; the largest node with flavor {flavors} has "
            f"{amount_words(largest)}, all {int(where.sum())} together {amount_words(total)}.",
            numbers={"largest": _numbers(largest), "total": _numbers(total)},
        )

    def _no_option(self, shape: Shape) -> Reason:
        """No cluster offers the flavors that were asked for, or enough GPUs on any."""
        offered = self._nodes.places
        clusters = self._nodes.clusters()
        if shape.clusters and not set(shape.clusters) & set(clusters):
            return Reason(
                code=ReasonCode.NO_MATCHING_FLAVOR,
                message=f"There is no cluster {list_words(list(shape.clusters), 'or')} with nodes; "
                f"there is {list_words(clusters) or 'none'}.",
            )
        asked = sorted({flavor for role in shape.roles for flavor in role.flavors})
        flavors = sorted({flavor for _, flavor in offered})
        missing = [flavor for flavor in asked if flavor not in flavors]
        if missing:
            return Reason(
                code=ReasonCode.NO_MATCHING_FLAVOR,
                message=f"No node has flavor {list_words(missing, 'or')}; there is {list_words(flavors)}.",
                numbers={"flavors": flavors},
            )
        most = int(self._nodes.capacity[:, 2].max()) if len(self._nodes.models) else 0
        return Reason(
            code=ReasonCode.NO_MATCHING_FLAVOR,
            message=f"Needs {need_words(shape)}; no node has more than {quantity(most, 'gpu')}.",
            numbers={"largest": {"gpu": most}},
        )

    def _no_room(self, shape: Shape, option: Option, usable: Mask, free: Room) -> Reason:
        """Not now: too little is free, or enough in all but not where it would have to be."""
        where = usable & self._where(option)
        left = Amount(*(int(value) for value in np.maximum(free[where], 0).sum(axis=0)))
        total = Amount(*(int(value) for value in self._nodes.capacity[where].sum(axis=0)))
        asked = shape.total
        short = [name for name in ("gpu", "cpu", "memory") if getattr(asked, name) > getattr(left, name)]
        flavors = list_words(sorted(set(option.flavors)))
        numbers = {"needs": _numbers(asked), "free": _numbers(left), "total": _numbers(total)}
        ends = self._next_end(option)
        if short:
            name = short[0]
            free_words = quantity(getattr(left, name), name).split(" ")[0]
            return Reason(
                code=ReasonCode.WAITING_FOR_CAPACITY,
                message=f"Needs {need_words(shape)}; {free_words} of "
                f"{quantity(getattr(total, name), name)} {'are' if name != 'memory' else 'is'} free "
                f"on {flavors}{ends}.",
                numbers={**numbers, "short": short},
            )
        return Reason(
            code=ReasonCode.TOPOLOGY_PLACEMENT_FAILED,
            message=f"Needs {need_words(shape)}; {amount_words(left)} are free on {flavors} in all, "
            f"but not together on the same nodes{ends}.",
            numbers=numbers,
        )

    def _next_end(self, option: Option) -> str:
        places = {(option.cluster, flavor) for flavor in option.flavors}
        ends = [
            attempt.ends
            for attempt in self._snapshot.running
            if attempt.ends is not None
            and any((placement.cluster, placement.flavor) in places for placement in attempt.placements)
        ]
        if not ends:
            return ""
        return f"; the next job there ends within {format_seconds(max(min(ends) - self._now, 1))}"

    def _reserved(self, option: Option) -> Reason:
        flavors = list_words(sorted(set(option.flavors)))
        return Reason(
            code=ReasonCode.RESERVED_FOR_AHEAD,
            message=f"There is room on {flavors}, but it is kept for jobs ahead in line.",
        )


def held_cluster(snapshot: Snapshot, cluster: str) -> Reason | None:
    """Why nothing starts on a cluster, if so."""
    model = snapshot.clusters.get(cluster)
    return model.held if model is not None else None


def _unexplained() -> Reason:
    return Reason(code=ReasonCode.PENDING_EVALUATION, message="The queue has not looked at this job yet.")


def _numbers(amount: Amount) -> dict[str, int]:
    return {"cpu": amount.cpu, "memory": amount.memory, "gpu": amount.gpu}

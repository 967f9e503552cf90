"""A snapshot as `forward` wants it: pools of nodes, what holds them, and those who wait, as arrays."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .forward import Busy, Line, Pools
from .model import (
    Amount,
    ClusterModel,
    GroupModel,
    NodeModel,
    Place,
    Quota,
    RoleShape,
    Running,
    Shape,
    Snapshot,
    Workload,
)
from .quota import lineage

__all__ = ["Fleet", "Held", "World"]

_UNBOUNDED = 2**62
_Row = tuple[int, int, int]
Held = Sequence[tuple[Place, _Row]]  # what an attempt has of each place


class Fleet:
    """The nodes of a snapshot by place, and which shapes they could take if they were empty."""

    def __init__(self, nodes: tuple[NodeModel, ...], clusters: Mapping[str, ClusterModel]) -> None:
        self.nodes, self.clusters = nodes, clusters
        kinds: dict[Place, Counter[_Row]] = {}
        away: dict[Place, set[str]] = {}
        for node in nodes:
            place = (node.cluster, node.flavor)
            if node.unusable is None:
                kinds.setdefault(place, Counter())[_row(node.capacity)] += 1
            else:
                kinds.setdefault(place, Counter())
                away.setdefault(place, set()).add(node.name)
        self.places = tuple(sorted(kinds))
        self.number = {place: n for n, place in enumerate(self.places)}
        self.away = away
        self.capacity = np.array(
            [[sum(row[r] * count for row, count in kinds[p].items()) for r in range(3)] for p in self.places],
            dtype=np.int64,
        ).reshape(len(self.places), 3)
        self._kinds = [tuple(kinds[place].items()) for place in self.places]
        self._fits: dict[Shape, tuple[NDArray[np.bool_], int]] = {}

    def fits(self, shape: Shape) -> tuple[NDArray[np.bool_], int]:
        """The places that could take a shape, and the largest of them."""
        found = self._fits.get(shape)
        if found is None:
            # Of several roles, the one with the most GPUs says where; the others are small beside it.
            main = max(shape.roles, key=lambda role: (role.need.gpu * role.replicas, role.need.cpu))
            able = np.array([self._able(shape, main, n) for n in range(len(self.places))], dtype=np.bool_)
            sizes = np.where(able, self.capacity[:, 2] * 2**20 + self.capacity[:, 0] // 1000, -1)
            found = self._fits[shape] = (able, int(sizes.argmax()) if len(sizes) else 0)
        return found

    def _able(self, shape: Shape, role: RoleShape, number: int) -> bool:
        cluster, flavor = self.places[number]
        region = self.clusters[cluster].region if cluster in self.clusters else ""
        if (
            (shape.clusters and cluster not in shape.clusters)
            or (role.flavors and flavor not in role.flavors)
            or (shape.region and shape.region != region)
        ):
            return False
        return sum(count * _times(role.need, kind) for kind, count in self._kinds[number]) >= role.replicas


class World:
    """Pools, and those who wait for them.

    Parameters
    ----------
    held
        What each of ``running`` has of each place.
    """

    def __init__(
        self,
        fleet: Fleet,
        snapshot: Snapshot,
        running: Sequence[Running],
        held: Sequence[Held],
        waiting: Sequence[Workload],
    ) -> None:
        self._fleet, self._running, self._held = fleet, running, held
        self._rows, caps = _limits(fleet, snapshot.groups)
        self._memo: dict[tuple[str, int], tuple[int, ...]] = {}
        self._caps = np.array([*caps, (_UNBOUNDED,) * 3], dtype=np.int64)
        self.pools = self._pools(snapshot)
        self.line = self._line(waiting)

    @property
    def owners(self) -> list[int]:
        """Which attempt each part of ``busy`` belongs to."""
        return [n for n, parts in enumerate(self._held) for place, _ in parts if place in self._fleet.number]

    def busy(self, bounds: Sequence[float]) -> Busy:
        """What holds the pools; ``bounds``: seconds until each attempt's time limit."""
        pool, need, limit, limits = [], [], [], []
        number = self._fleet.number
        for attempt, parts, bound in zip(self._running, self._held, bounds, strict=True):
            for place, row in parts:
                if place in number:
                    pool.append(number[place])
                    need.append(row)
                    limit.append(bound)
                    limits.append(self._rows_of(attempt.group, number[place]))
        return Busy(pool, need, limit, limits)

    def _pools(self, snapshot: Snapshot) -> Pools:
        fleet = self._fleet
        free = fleet.capacity.copy()
        used = np.zeros_like(self._caps)
        sums = [[0, 0, 0] for _ in fleet.places]
        for attempt, parts in zip(self._running, self._held, strict=True):
            for place, row in parts:
                number = fleet.number.get(place)
                if number is None:
                    continue
                of_place = sums[number]
                of_place[0] += row[0]
                of_place[1] += row[1]
                of_place[2] += row[2]
                for limit in self._rows_of(attempt.group, number) if self._rows else ():
                    used[limit] += row
            # What runs on nodes that are away was never counted as there.
            for placement in attempt.placements if fleet.away else ():
                place = (placement.cluster, placement.flavor)
                if placement.node in fleet.away.get(place, ()):
                    free[fleet.number[place]] += _row(placement.need)
        free -= np.array(sums, dtype=np.int64).reshape(free.shape)
        backfill = []
        for cluster, _ in fleet.places:
            policy = snapshot.clusters[cluster].policy if cluster in snapshot.clusters else None
            backfill.append(policy.backfill if policy else True)
        return Pools(fleet.places, free, tuple(backfill), self._caps, used)

    def _line(self, waiting: Sequence[Workload]) -> Line:
        fleet = self._fleet
        count, places = len(waiting), len(fleet.places)
        allowed = np.zeros((count, places), np.bool_)
        home = np.zeros(count, np.int64)
        needs: dict[Shape, _Row] = {}
        rows = []
        for n, workload in enumerate(waiting):
            shape = workload.shape
            allowed[n], home[n] = fleet.fits(shape)
            if shape not in needs:
                needs[shape] = _row(shape.total)
            rows.append(needs[shape])
        depth = 1
        none = len(self._caps) - 1
        limits = [[self._rows_of(w.group, p) for p in range(places)] for w in waiting] if none else []
        if limits:
            depth = max(1, max((len(row) for places_ in limits for row in places_), default=1))
        table = np.full((count, places, depth), none, np.int64)
        for n, of_places in enumerate(limits):
            for p, row in enumerate(of_places):
                table[n, p, : len(row)] = row
        return Line(
            need=np.array(rows, dtype=np.int64).reshape(count, 3),
            allowed=allowed,
            home=home,
            limit=np.array([float(w.time_limit or math.inf) for w in waiting]),
            limits=table,
        )

    def _rows_of(self, group: str, place: int) -> tuple[int, ...]:
        if not self._rows:
            return ()
        key = (group, place)
        found = self._memo.get(key)
        if found is None:
            rows = [self._rows[name, place] for name in (*lineage(group), "") if (name, place) in self._rows]
            found = self._memo[key] = tuple(row for pair in rows for row in pair)
        return found


def _limits(
    fleet: Fleet, groups: Mapping[str, GroupModel]
) -> tuple[dict[tuple[str, int], tuple[int, ...]], list[_Row]]:
    """Rows of limits by group and place: the most a group may ever have, and what sisters share.

    Who may borrow what at one moment (`quota`) is coarser here: a group may use what it may ever use as long
    as all sisters together stay within what they have in all.
    """
    rows: dict[tuple[str, int], tuple[int, ...]] = {}
    caps: list[_Row] = []
    for number, place in enumerate(fleet.places):
        quotas = {name: group.quotas[place] for name, group in groups.items() if place in group.quotas}
        sisters: dict[str, list[str]] = {}
        for name in quotas:
            sisters.setdefault(name.rpartition("/")[0], []).append(name)
        for parent, names in sisters.items():
            for name in names:
                others = [quotas[other] for other in names if other != name]
                rows[name, number] = (*rows.get((name, number), ()), len(caps))
                caps.append(_most(quotas[name], others))
            if parent not in quotas:
                rows[parent, number] = (len(caps),)
                caps.append(_sum([quotas[name] for name in names]))
    return rows, caps


def _most(quota: Quota, others: Sequence[Quota]) -> _Row:
    values = []
    for resource in ("cpu", "memory", "gpu"):
        nominal = getattr(quota.nominal, resource)
        if nominal is None:
            values.append(_UNBOUNDED)
            continue
        lent = 0
        for other in others:
            theirs, lending = getattr(other.nominal, resource), getattr(other.lending, resource)
            lent += (theirs or 0) if lending is None else min(lending, theirs or 0)
        borrowing = getattr(quota.borrowing, resource)
        values.append(nominal + (lent if borrowing is None else min(borrowing, lent)))
    return (values[0], values[1], values[2])


def _sum(quotas: Sequence[Quota]) -> _Row:
    values = []
    for resource in ("cpu", "memory", "gpu"):
        nominals = [getattr(quota.nominal, resource) for quota in quotas]
        values.append(_UNBOUNDED if None in nominals else sum(nominals))
    return (values[0], values[1], values[2])


def _row(amount: Amount) -> _Row:
    return (amount.cpu, amount.memory, amount.gpu)


def _times(need: Amount, have: _Row) -> int:
    """How many replicas an empty node takes."""
    counts = [there // asked for asked, there in zip(_row(need), have, strict=True) if asked]
    return min(counts, default=_UNBOUNDED)

"""Where a gang fits: vectorised over nodes, all replicas or none, packed as close together as it goes.

One node is tried first, then one rack, then each wider part of the cluster, at last all of it. Best fit
keeps large holes whole: of what can take the gang, that with the least to spare is used.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .competing import fit_competing
from .model import Placement, RoleShape, Shape
from .nodes import Mask, Nodes, Room, vector
from .ways import Option

__all__ = ["feasible", "fit", "replicas_of", "room_for"]

_ENOUGH = np.int64(2**40)  # replicas that fit where nothing is asked for
_MOST_ORDERS = 6  # in which the roles of a gang are tried

Spots = list[list[tuple[int, int]]]  # for each role: node, replicas there


def replicas_of(shape: Shape) -> tuple[int, ...]:
    """The fewest of each role."""
    return tuple(role.replicas for role in shape.roles)


def room_for(room: Room, need: tuple[int, int, int]) -> NDArray[np.int64]:
    """How many replicas each node has room for."""
    asked = [column for column in range(3) if need[column]]
    if not asked:
        return np.full(len(room), _ENOUGH, dtype=np.int64)
    some = room[:, asked[0]] >= need[asked[0]]
    for column in asked[1:]:
        some &= room[:, column] >= need[column]
    # Most nodes of a busy cluster have no room for anything; only the others are divided.
    where = np.flatnonzero(some)
    counts = np.zeros(len(room), dtype=np.int64)
    if where.size:
        counts[where] = np.min([room[where, column] // need[column] for column in asked], axis=0)
    return counts


def feasible(nodes: Nodes, room: Room, mask: Mask, shape: Shape, option: Option) -> bool:
    """Whether `fit` would place the gang; much cheaper where there is one role, as in most."""
    if len(shape.roles) > 1:
        return fit(nodes, room, mask, shape, option) is not None
    [role] = shape.roles
    pool = nodes.pools[option.cluster, option.flavors[0]]
    counts = room_for(room[pool], vector(role.need)) * mask[pool]
    if shape.topology == "node":
        return int(counts.max(initial=0)) >= role.replicas
    if shape.topology == "rack":
        return bool((_sums(nodes.domains[0][pool], counts, role.replicas) >= role.replicas).any())
    return int(counts.sum()) >= role.replicas


def fit(
    nodes: Nodes,
    room: Room,
    mask: Mask,
    shape: Shape,
    option: Option,
    *,
    replicas: Sequence[int] | None = None,
) -> tuple[Placement, ...] | None:
    """Place the whole gang, or nothing.

    Parameters
    ----------
    room
        What each node has left; not changed.
    mask
        Nodes that may be used.
    replicas
        Of each role; unset: the fewest.
    """
    counts = tuple(replicas or replicas_of(shape))
    gang = _Gang(nodes, room, mask, shape, option, replicas=counts)
    spots = gang.together() if len(shape.roles) == 1 or gang.possible() else None
    if spots is None:
        return None
    placements: list[Placement] = []
    for role, flavor, taken in zip(shape.roles, option.flavors, spots, strict=True):
        index = 0
        for node, count in taken:
            for _ in range(count):
                name = nodes.names[node]
                placements.append(Placement(role.name, index, option.cluster, name, flavor, role.need))
                index += 1
    return tuple(placements)


class _Gang:
    """Roles with their counts, and how many replicas of each every node could take."""

    def __init__(
        self,
        nodes: Nodes,
        room: Room,
        mask: Mask,
        shape: Shape,
        option: Option,
        *,
        replicas: tuple[int, ...],
    ) -> None:
        self.nodes, self.shape, self.replicas = nodes, shape, replicas
        pools = [nodes.pools[option.cluster, flavor] for flavor in option.flavors]
        # All that is looked at lies within one cluster, so in one run of rows.
        self.begin: int = min(pool.start for pool in pools)
        self.rows = slice(self.begin, max(pool.stop for pool in pools))
        self.room = room[self.rows]
        self.needs = [vector(role.need) for role in shape.roles]
        self.one_pool = len(set(option.flavors)) == 1
        self.counts = []
        for pool, need in zip(pools, self.needs, strict=True):
            counts = np.zeros(len(self.room), dtype=np.int64)
            inner = slice(pool.start - self.begin, pool.stop - self.begin)
            counts[inner] = room_for(room[pool], need) * mask[pool]
            self.counts.append(counts)

    def possible(self) -> bool:
        """Whether each role alone has room."""
        return all(int(c.sum()) >= count for c, count in zip(self.counts, self.replicas, strict=True))

    def together(self) -> Spots | None:
        """As close together as it goes, and as its topology demands."""
        whole = self._one_node()
        if whole is not None:
            return [[(whole, count)] for count in self.replicas]
        if self.shape.topology == "node":
            return None
        for domains in self.nodes.domains:
            rack = self.shape.topology == "rack"
            spots = self._one_domain(domains[self.rows], exact=rack)
            if spots is not None or rack:
                return spots
        return self._spread(np.arange(len(self.room)), exact=True)

    def _one_node(self) -> int | None:
        """The node that takes all of it and has the least left then."""
        if not self.one_pool:
            return None
        total = np.zeros(3, dtype=np.int64)
        for need, count in zip(self.needs, self.replicas, strict=True):
            total += np.array(need, dtype=np.int64) * count
        able = np.ones(len(self.room), np.bool_)
        for counts, count in zip(self.counts, self.replicas, strict=True):
            able &= counts >= count
        candidates = np.flatnonzero(able)
        fits = (np.maximum(self.room[candidates], 0) >= total).all(axis=1)  # unasked may be overdrawn
        candidates = candidates[fits]
        if candidates.size == 0:
            return None
        left = self.room[candidates] - total
        share = left / np.maximum(self.nodes.capacity[self.rows][candidates], 1)
        order = np.lexsort((share[:, 1], share[:, 0], left[:, 2]))
        return int(candidates[order[0]]) + self.begin

    def _one_domain(self, domains: NDArray[np.int64], *, exact: bool) -> Spots | None:
        """Within the part of the cluster that takes all of it and has the least room to spare."""
        spare = np.zeros(int(domains.max(initial=-1)) + 1, dtype=np.int64)
        able = np.ones(len(spare), np.bool_)
        for counts, count in zip(self.counts, self.replicas, strict=True):
            sums = _sums(domains, counts, count)
            able &= sums >= count
            spare += sums
        candidates = np.flatnonzero(able)
        for domain in candidates[np.argsort(spare[candidates], kind="stable")].tolist():
            spots = self._spread(np.flatnonzero(domains == domain), exact=exact)
            if spots is not None:
                return spots
        return None

    def _spread(self, where: NDArray[np.intp], *, exact: bool) -> Spots | None:
        """Within some nodes, on as few as it takes; ``exact``: wherever it goes, if it must."""
        for order in self._orders():
            spots = self._in_order(where, order)
            if spots is not None:
                return spots
        if not exact or len(self.needs) == 1:
            return None
        counts = [counts[where] for counts in self.counts]
        found = fit_competing(self.room[where], self.needs, counts, self.replicas)
        if found is None:
            return None
        return [[(self.begin + int(where[row]), count) for row, count in taken] for taken in found]

    def _orders(self) -> Iterator[tuple[int, ...]]:
        """The most demanding role first; then, where roles compete for nodes, other orders."""
        roles: Sequence[RoleShape] = self.shape.roles
        demanding = sorted(
            range(len(roles)),
            key=lambda r: (-roles[r].need.gpu, -roles[r].need.cpu, -roles[r].need.memory, r),
        )
        if not self.one_pool or len(roles) == 1:
            return iter([tuple(demanding)])
        return itertools.islice(itertools.permutations(demanding), _MOST_ORDERS)

    def _in_order(self, where: NDArray[np.intp], order: tuple[int, ...]) -> Spots | None:
        taken: Spots = [[] for _ in self.replicas]
        room = self.room[where]
        for r in order:
            need = np.array(self.needs[r], dtype=np.int64)
            counts = self.counts[r][where]
            if r != order[0]:  # less, where others have taken some
                counts = np.where(counts > 0, room_for(room, self.needs[r]), 0)
            left = self.replicas[r]
            if int(counts.sum()) < left:
                return None
            while left:
                node = _next_node(room, counts, left)
                count = min(left, int(counts[node]))
                taken[r].append((self.begin + int(where[node]), count))
                room[node] -= need * count
                counts[node] = 0
                left -= count
        return taken


def _next_node(room: Room, counts: NDArray[np.int64], left: int) -> int:
    """The tightest that takes all that is left; if there is none, the one that takes the most."""
    enough = np.flatnonzero(counts >= left)
    if enough.size:
        return int(enough[np.lexsort((enough, room[enough, 0], room[enough, 2], counts[enough]))[0]])
    return int(np.argmax(counts))


def _sums(domains: NDArray[np.int64], counts: NDArray[np.int64], enough: int) -> NDArray[np.int64]:
    """Replicas that each part of a cluster takes; of each node, no more than would be enough."""
    clipped = np.minimum(counts, enough)
    return np.bincount(domains, weights=clipped).astype(np.int64)

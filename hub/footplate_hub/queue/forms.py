"""Every shape that waits, and every way to run it, as columns.

A way asks something of one pool for each role (`tally`), and takes something of each pool's quota. Tables
grow while shapes come, and are good as long as the nodes are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from footplate_spec.reasons import ReasonCode

from .model import Place, Shape
from .never import never_code
from .nodes import Ids, Mask, Nodes, Room, vector
from .prospects import Prospect
from .tally import PoolTally

__all__ = ["Forms"]


class Forms:
    """Shapes by number, and their ways by number, those of one shape together and in its order."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.places: list[Place] = list(nodes.pools)
        self.tallies = [PoolTally(nodes, pool) for pool in nodes.pools.values()]
        self.prospects: list[Prospect] = []
        self._place = {place: number for number, place in enumerate(self.places)}
        self._number: dict[Shape, int] = {}
        self._masks: dict[object, tuple[int, Mask, Mask]] = {}
        self._ways: list[tuple[int, int, int]] = []  # shape, cluster, whether roles may compete for nodes
        self._first: list[int] = []
        self._asks: list[tuple[int, int, int, int]] = []  # way, place, ask there, replicas
        self._takes: list[tuple[int, int, int, int, int, int]] = []  # way, place, an ask, CPU, memory, GPUs
        self._clusters = {name: number for number, name in enumerate(nodes.clusters)}
        self._done = -1
        self._never: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def number(self, shape: Shape) -> int:
        """The number of a shape, which is new if it was not seen before."""
        known = self._number.get(shape)
        if known is None:
            known = self._number[shape] = len(self.prospects)
            self._add(known, shape)
        return known

    def _add(self, number: int, shape: Shape) -> None:
        key = (
            shape.exclude_nodes,
            shape.exclude_addresses,
            shape.labels,
            shape.tolerations,
            shape.extended,
        )
        if key not in self._masks:
            allowed = self.nodes.allowed(shape)
            self._masks[key] = (len(self._masks), allowed, allowed & self.nodes.usable)
        class_, allowed, mask = self._masks[key]
        prospect = Prospect(self.nodes, number, shape, (allowed, mask))
        self.prospects.append(prospect)
        self._first.append(len(self._ways))
        for way in prospect.ways:
            at = len(self._ways)
            flavors = way.option.flavors
            compete = len(set(flavors)) < len(flavors) or (len(flavors) > 1 and shape.topology != "any")
            self._ways.append((number, self._clusters[way.option.cluster], int(compete)))
            one = {}
            for role, flavor in zip(shape.roles, flavors, strict=True):
                place = self._place[way.option.cluster, flavor]
                ask = self.tallies[place].ask(vector(role.need), class_, mask, shape.topology)
                one[place] = ask
                self._asks.append((at, place, ask, role.replicas))
            for where, amount in way.demand.items():
                place = self._place[where]
                self._takes.append((at, place, one[place], *vector(amount)))

    def settle(self) -> None:
        """Make columns of what was added."""
        if self._done == len(self.prospects):
            return
        self._done = len(self.prospects)
        ways = np.array(self._ways, dtype=np.int64).reshape(-1, 3)
        self.way_shape, self.way_cluster = ways[:, 0], ways[:, 1]
        self.way_competes = ways[:, 2] > 0
        self._fits: Mask | None = None
        self.first: Ids = np.array([*self._first, len(self._ways)], dtype=np.int64)
        asks = np.array(self._asks, dtype=np.int64).reshape(-1, 4)
        self.ask_way, self.ask_place, self.ask_replicas = asks[:, 0], asks[:, 1], asks[:, 3]
        begins = np.cumsum([0, *(len(tally) for tally in self.tallies)])
        self.ask_begins: Ids = begins
        self.ask_number: Ids = begins[self.ask_place] + asks[:, 2]
        takes = np.array(self._takes, dtype=np.int64).reshape(-1, 6)
        self.take_way, self.take_place, self.take_amount = takes[:, 0], takes[:, 1], takes[:, 3:]
        self._amounts = self.take_amount.T.copy()
        self.take_ask: Ids = begins[self.take_place] + takes[:, 2]
        self.gpus: Ids = np.array([prospect.gpus for prospect in self.prospects], dtype=np.int64)
        self.way_mixes: Mask = np.bincount(self.take_way, minlength=len(ways)) > 1
        self.way_takes: Ids = np.searchsorted(self.take_way, np.arange(len(ways) + 1))

    def __len__(self) -> int:
        return len(self._ways)

    def count(self, place: int, room: Room) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`PoolTally.room` of a pool by number."""
        return self.tallies[place].room(room)

    def fitting(self, counts: NDArray[np.int64]) -> Mask:
        """Ways each of whose roles alone has room; ``counts`` says it of every ask."""
        short = counts[self.ask_number] < self.ask_replicas
        found = np.ones(len(self), np.bool_)
        found[self.ask_way[short]] = False
        return found

    def competes(self, shape: int) -> bool:
        """Whether roles of a shape may compete for nodes, in some way."""
        return bool(self.way_competes[self.first[shape] : self.first[shape + 1]].any())

    def touching(self, places: Iterable[Place]) -> Mask:
        """Ways that take something of one of these pools."""
        numbers = [self._place[place] for place in places]
        among = np.zeros(len(self.places), np.bool_)
        among[numbers] = True
        found = np.zeros(len(self), np.bool_)
        if numbers:
            found[self.take_way[among[self.take_place]]] = True
        return found

    def starts(self, starts: Mapping[Place, float]) -> NDArray[np.float64]:
        """When the first reservation begins that each way touches."""
        of_place = np.array([starts.get(place, np.inf) for place in self.places])
        found = np.full(len(self), np.inf)
        np.minimum.at(found, self.take_way, of_place[self.take_place])
        return found

    def short(self, sums: NDArray[np.int64]) -> Mask:
        """Ways that take more of a pool than is left on all its nodes that may be used, however it lies."""
        found = np.zeros(len(self), np.bool_)
        lacks = np.zeros(len(self.take_way), np.bool_)
        for amount, left in zip(self._amounts, sums.T, strict=True):
            lacks |= amount > left[self.take_ask]
        found[self.take_way[lacks]] = True
        return found

    @property
    def fits(self) -> Mask:
        """Ways that would fit if nothing ran, as far as each role alone can tell."""
        if self._fits is None:
            counts = [self.tallies[n].room(self.nodes.capacity)[0] for n in range(len(self.places))]
            self._fits = self.fitting(np.concatenate([*counts, np.zeros(0, dtype=np.int64)]))
        return self._fits

    def never_codes(self) -> NDArray[np.int64]:
        """The number of each way's code that never fits, even on empty nodes; one past all for others."""
        if len(self._never) < len(self):
            self._never = np.append(self._never, np.full(len(self) - len(self._never), -1))
        new = np.flatnonzero(self._never < 0)
        self._never[new] = len(ReasonCode)
        number = {code: n for n, code in enumerate(ReasonCode)}
        for way in new[~self.fits[new] | self.way_competes[new]].tolist():
            prospect = self.prospects[self.way_shape[way]]
            its = prospect.ways[way - self.first[self.way_shape[way]]]
            if not prospect.fits(its):
                self._never[way] = number[never_code(self.nodes, prospect, its.option)]
        return self._never

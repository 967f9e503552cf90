"""Who makes room for whom: the smallest sacrifice that lets a workload start.

Of the sets that suffice, the one with the fewest victims is chosen, then that with the lowest priorities,
then the youngest, then the least GPU-time lost; few are compared in full, large sets are grown from three
orders and thinned out. A set that does not suffice is never given.

Nobody takes anything back from who took it from them: by priority it would have to be higher than who is
higher, and by quota the group of who took it would have to be beyond its own, which it is not. This holds if
the pass considers a workload first once its victims are gone: somebody else could otherwise borrow the room
before it, only to be preempted again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .candidates import Candidate, candidates, cost
from .foreseen import Foreseen
from .model import Amount, Place, Preemption, RoleShape, Running, Workload
from .nodes import Mask, Nodes, Room, vector
from .quota import Quotas
from .ways import Option, demand

__all__ = ["Fits", "Sacrifice", "Scene", "victims"]

Fits = Callable[[Room, Option], bool]
_TRIES = 400  # sets that are fitted for one option
_COMPARED = 2000  # sets of one size; of these, those that may be enough are fitted


@dataclass(frozen=True)
class Scene:
    """What will be when all that is stopping, and all that is to be preempted for those ahead, is gone.

    Parameters
    ----------
    room
        What each node will have left, less what is kept for those ahead. Not changed.
    quotas
        The use that will count, that of those ahead included. As it was when `victims` returns.
    running
        All attempts; those that are to be preempted for those ahead are marked ``stopping``.
    foreseen
        The use that will count when what is reserved for those ahead starts, if anything is. As it was when
        `victims` returns.
    """

    nodes: Nodes
    room: Room
    quotas: Quotas
    running: Sequence[Running]
    now: float
    foreseen: Foreseen | None = None

    def release(self, attempt: Running) -> None:
        """Count an attempt no more."""
        self.quotas.release(attempt.group, attempt.owner, attempt.placements)
        if self.foreseen is not None:
            self.foreseen.release(attempt)

    def restore(self, attempt: Running) -> None:
        """Count it again."""
        self.quotas.take(attempt.group, attempt.owner, attempt.placements)
        if self.foreseen is not None:
            self.foreseen.restore(attempt)

    def allows(self, workload: Workload, asked: Mapping[Place, Amount]) -> bool:
        """Whether quotas let it start, and leave everyone's reservation theirs."""
        return self.quotas.allows(workload.group, asked) and (
            self.foreseen is None or self.foreseen.allows(workload.group, asked, math.inf)
        )


@dataclass(frozen=True)
class Sacrifice:
    """An option, and who must go for it; nobody, if it waits only for what is stopping already."""

    option: Option
    preemptions: tuple[Preemption, ...]


def victims(
    workload: Workload, ways: Sequence[Option], mask: Mask, fits: Fits, scene: Scene
) -> Sacrifice | None:
    """The smallest set of attempts that must end so that a workload starts, or none if nothing would help.

    Parameters
    ----------
    ways
        How it could start, in its order; a way on a held cluster is not among them.
    mask
        Nodes that it may use.
    fits
        Whether it fits by an option into the room it is given, on those nodes. More room must not make it
        refuse. Called for sets that the numbers allow only, and for a few hundred of them at most.
    """
    best: tuple[tuple[Any, ...], Sacrifice] | None = None
    for number, option in enumerate(ways):
        found = _Contest(workload, option, mask, fits, scene).smallest()
        if found is None:
            continue
        key = (*cost(found), number)
        if best is None or key < best[0]:
            gone = sorted(found, key=lambda candidate: candidate.running.id)
            preemptions = tuple(Preemption(c.running.id, workload.id, c.why) for c in gone)
            best = (key, Sacrifice(option, preemptions))
    return best[1] if best is not None else None


class _Contest:
    """One workload, one option, and what may be taken for it."""

    def __init__(self, workload: Workload, option: Option, mask: Mask, fits: Fits, scene: Scene) -> None:
        nodes = scene.nodes
        self._scene = scene
        self._workload = workload
        self._option = option
        self._fits = fits
        self._room = scene.room
        self._asked = demand(workload.shape, option)
        self._roles = [
            _Wanted(role, mask & nodes.places[option.cluster, flavor], scene.room)
            for role, flavor in zip(workload.shape.roles, option.flavors, strict=True)
        ]
        self._candidates = candidates(
            workload, self._asked, scene.running, scene.quotas, nodes.index, now=scene.now
        )
        self._tries = _TRIES

    def smallest(self) -> Sequence[Candidate] | None:
        """The best set; none if all together would not be enough."""
        if self._enough([]):
            return []
        if not self._candidates or not self._enough(self._candidates, strict=False):
            return None
        return self._compared() or self._grown()

    # Whether a set is enough

    def _enough(self, chosen: Sequence[Candidate], *, strict: bool = True) -> bool:
        """Whether it starts without them. Not ``strict``: even if not all of it is borrowed by then."""
        if not (self._plausible(chosen) and self._quota_allows(chosen, strict=strict)):
            return False
        self._tries -= 1
        room = self._room.copy()
        for candidate in chosen:
            np.add.at(room, candidate.rows, candidate.amounts)
        return self._fits(room, self._option)

    def _plausible(self, chosen: Sequence[Candidate]) -> bool:
        """Whether each role alone would have room: what can be said without looking at every node."""
        more: dict[int, NDArray[np.int64]] = {}
        for candidate in chosen:
            for row, amount in zip(candidate.rows.tolist(), candidate.amounts, strict=True):
                more[row] = more.get(row, self._room[row]) + amount
        return all(role.enough(more) for role in self._roles)

    def _quota_allows(self, chosen: Sequence[Candidate], *, strict: bool) -> bool:
        gone: list[Running] = []
        allowed = True
        # Were the largest first, the others' group could be within its own when the rest is still to go.
        for candidate in sorted(chosen, key=lambda c: (c.why, c.size)):
            running = candidate.running
            if strict and candidate.why == "reclaim":
                allowed = self._scene.quotas.may_reclaim(self._workload.group, self._asked, running.group)
                if not allowed:
                    break
            self._scene.release(running)
            gone.append(running)
        allowed = allowed and self._scene.allows(self._workload, self._asked)
        for running in gone:
            self._scene.restore(running)
        return allowed

    # The search

    def _compared(self) -> Sequence[Candidate] | None:
        """The best of the smallest sets that are enough, where there are few enough to try them all."""
        for count in range(1, len(self._candidates) + 1):
            if self._tries <= 0 or math.comb(len(self._candidates), count) > _COMPARED:
                return None
            for chosen in sorted(itertools.combinations(self._candidates, count), key=cost):
                if self._enough(chosen):
                    return chosen
        return None

    def _grown(self) -> Sequence[Candidate] | None:
        """The best of what three orders lead to."""
        by_size = sorted(self._candidates, key=lambda candidate: candidate.largest)
        found = []
        for order in (self._by_node(by_size), by_size, self._candidates):
            self._tries = max(self._tries, _TRIES // 3)
            chosen = self._thinned(self._first_enough(order))
            if chosen is not None:
                found.append(chosen)
        return min(found, key=cost) if found else None

    def _by_node(self, by_size: Sequence[Candidate]) -> list[Candidate]:
        """First those on the nodes that one replica more can have for the fewest of them."""
        need = np.array([role.need for role in self._roles]).max(axis=0)
        on: dict[int, list[Candidate]] = {}
        for candidate in by_size:
            for row in dict.fromkeys(candidate.rows.tolist()):
                on.setdefault(row, []).append(candidate)
        nodes = []
        for row, there in on.items():
            left = self._room[row].copy()
            needed: list[Candidate] = []
            for candidate in there:
                if (left >= need).all():
                    break
                left += candidate.amounts[candidate.rows == row].sum(axis=0)
                needed.append(candidate)
            if needed and (left >= need).all():
                nodes.append((cost(needed), row, needed))
        ordered = [candidate for _, _, needed in sorted(nodes) for candidate in needed]
        return list(dict.fromkeys([*ordered, *self._candidates]))

    def _first_enough(self, order: Sequence[Candidate]) -> Sequence[Candidate]:
        """The shortest beginning that is enough."""
        few, many = 0, len(order)
        while few < many:
            middle = (few + many) // 2
            if self._enough(order[:middle], strict=False):
                many = middle
            else:
                few = middle + 1
        return order[:many]

    def _thinned(self, chosen: Sequence[Candidate]) -> Sequence[Candidate] | None:
        """Without those that it can do without, in ever smaller parts; the dearest are spared first."""
        chosen = sorted(chosen, key=lambda candidate: candidate.preference, reverse=True)
        part = max(1, len(chosen) // 2)
        while part and self._tries > 0:
            at = 0
            while at < len(chosen) and self._tries > 0:
                rest = chosen[:at] + chosen[at + part :]
                if self._enough(rest):
                    chosen = rest
                else:
                    at += part
            part //= 2
        return chosen if self._enough(chosen) else None


class _Wanted:
    """A role, and how many of its replicas the nodes that it may use have room for."""

    def __init__(self, role: RoleShape, where: Mask, room: Room) -> None:
        self.need = np.array(vector(role.need), dtype=np.int64)
        self._asked = self.need > 0
        self._replicas = role.replicas
        self._where = where
        self._room = room
        self._now = self._count(room[where])

    def enough(self, more: Mapping[int, NDArray[np.int64]]) -> bool:
        """Whether there is room for all, if some nodes have more left."""
        rows = [row for row in more if self._where[row]]
        if not rows:
            return self._now >= self._replicas
        gained = self._count(np.array([more[row] for row in rows])) - self._count(self._room[rows])
        return self._now + gained >= self._replicas

    def _count(self, room: Room) -> int:
        if not self._asked.any():
            return self._replicas
        return int(np.maximum((room[:, self._asked] // self.need[self._asked]).min(axis=1), 0).sum())

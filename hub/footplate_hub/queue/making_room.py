"""Who may have others stopped for it, asked of everyone who cannot start; most are told no in no time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from .fit import feasible, fit
from .model import Place, Placement, Preemption, Running, Workload
from .nodes import Nodes, Room
from .preempt import Scene, victims
from .prospects import Prospect, Way
from .quota import lineage
from .standing import Standing
from .ways import Option

__all__ = ["MakingRoom", "RoomMade", "Stoppable"]

_FOR_GOOD = -1


@dataclass(frozen=True)
class RoomMade:
    """Who is to stop for a workload, how many stop for it already, and where it will be then."""

    preemptions: tuple[Preemption, ...]
    stopping: int


class Stoppable:
    """What runs and may be stopped, by place; and its lowest priority in each group and those below."""

    def __init__(self, running: Sequence[Running]) -> None:
        self._running = running

    @cached_property
    def at(self) -> dict[Place, dict[str, list[Running]]]:
        """By cluster and flavor, then by group."""
        found: dict[Place, dict[str, list[Running]]] = {}
        for attempt in self._those():
            for place in {(placement.cluster, placement.flavor) for placement in attempt.placements}:
                found.setdefault(place, {}).setdefault(attempt.group, []).append(attempt)
        return found

    @cached_property
    def groups(self) -> list[str]:
        """Whose they are."""
        return list(dict.fromkeys(group for there in self.at.values() for group in there))

    @cached_property
    def within(self) -> dict[str, list[str]]:
        """By group, those of `groups` that are the same or below it."""
        found: dict[str, list[str]] = {}
        for group in self.groups:
            for holder in lineage(group):
                found.setdefault(holder, []).append(group)
        return found

    @cached_property
    def lowest(self) -> dict[str, int]:
        """By group."""
        found: dict[str, int] = {}
        for attempt in self._those():
            for holder in lineage(attempt.group):
                found[holder] = min(attempt.priority, found.get(holder, attempt.priority))
        return found

    def _those(self) -> Iterator[Running]:
        return (attempt for attempt in self._running if attempt.preemptible and not attempt.stopping)


class MakingRoom:
    """Chooses whom to stop within one pass."""

    def __init__(self, nodes: Nodes, standing: Standing, stoppable: Stoppable, now: float) -> None:
        self._nodes = nodes
        self._standing = standing
        self._now = now
        self._stoppable = stoppable
        self._gone: set[str] = set()
        self._then = (standing.changes, standing.to_come())  # as it was after so many changes
        self._refused: dict[object, int] = {}  # for good, or as long as nothing changes

    def make(self, workload: Workload, prospect: Prospect, ways: Iterable[Way]) -> RoomMade | None:
        """Have others stopped, and keep what they free for a workload; none if that would not help it.

        Parameters
        ----------
        ways
            Those on clusters that are not held.
        """
        possible = [way for way in ways if prospect.fits(way)]
        numbers = tuple(way.number for way in possible)
        key = (workload.group, prospect.number, workload.priority, workload.owed, numbers)
        if self._refused.get(key) in {_FOR_GOOD, self._standing.changes}:
            return None
        made: RoomMade | Literal["there"] | None = None
        if any(self._entitled(workload, way) for way in possible):
            made = self._make(workload, prospect, possible)
        if isinstance(made, RoomMade):
            self._refused.clear()  # those who go may free more than it takes
            return made
        self._refused[key] = _FOR_GOOD if made is None else self._standing.changes
        return None

    def _make(
        self, workload: Workload, prospect: Prospect, ways: Sequence[Way]
    ) -> RoomMade | Literal["there"] | None:
        """``there``: all that it needs is there, or will be once those who are stopping are gone."""
        standing, mask, options = self._standing, prospect.mask, [way.option for way in ways]
        scene = self._scene([])

        def fits(room: Room, option: Option) -> bool:
            return feasible(self._nodes, room, mask, workload.shape, option)

        with self._gone_already(scene):
            there = any(scene.allows(workload, way.demand) and fits(scene.room, way.option) for way in ways)
        if there and not workload.owed:
            return "there"  # it waits for something that nobody who stops would give
        scene = replace(scene, running=self._running(workload, prospect, options))
        with self._gone_already(scene):
            found = victims(workload, options, mask, fits, scene)
        if found is None or not (found.preemptions or workload.owed):
            return None
        gone = [attempt for attempt in scene.running if attempt.id in {p.running for p in found.preemptions}]
        room = scene.room.copy()
        for attempt in gone:
            for placement in attempt.placements:
                row = self._nodes.index.get((placement.cluster, placement.node))
                if row is not None:
                    room[row] += (placement.need.cpu, placement.need.memory, placement.need.gpu)
        placements = fit(self._nodes, room, mask, workload.shape, found.option)
        if placements is None:
            return None
        standing.keep(workload, placements, gone)
        self._gone |= {attempt.id for attempt in gone}
        return RoomMade(found.preemptions, self._stopping_there(placements))

    def _entitled(self, workload: Workload, way: Way) -> bool:
        """Whether it is worth looking: somebody is lower, or somebody borrows what is its own."""
        lowest = self._stoppable.lowest.get(workload.group)
        if workload.owed or (lowest is not None and lowest < workload.priority):
            return True
        quotas = self._standing.quotas_open
        return quotas.might_reclaim(workload.group, way.demand)

    @contextmanager
    def _gone_already(self, scene: Scene) -> Iterator[None]:
        """As if those who are stopping already were gone."""
        for attempt in self._standing.stopping:
            scene.release(attempt)
        yield
        for attempt in self._standing.stopping:
            scene.restore(attempt)

    def _scene(self, running: Sequence[Running]) -> Scene:
        standing = self._standing
        changes, room = self._then
        if changes != standing.changes:
            room = standing.to_come()
            self._then = (standing.changes, room)
        return Scene(self._nodes, room, standing.quotas_open, running, self._now, standing.foreseen)

    def _running(self, workload: Workload, prospect: Prospect, options: Iterable[Option]) -> list[Running]:
        """Those only who may be stopped for it, as far as groups and priorities tell."""
        standing = self._standing
        places = dict.fromkeys(place for option in options for place in option.places)
        demand = dict.fromkeys(places, prospect.shape.total)
        borrow = standing.quotas_open.borrowing(demand, self._stoppable.groups)
        running: dict[str, Running] = {}
        for place in places:
            there = self._stoppable.at.get(place, {})
            for group in borrow.union(self._stoppable.within.get(workload.group, ())):
                running |= {
                    attempt.id: attempt
                    for attempt in there.get(group, ())
                    if (group in borrow or attempt.priority < workload.priority)
                    and attempt.id not in self._gone
                }
        return list(running.values())

    def _stopping_there(self, placements: Iterable[Placement]) -> int:
        nodes = {(placement.cluster, placement.node) for placement in placements}
        return sum(
            any((placement.cluster, placement.node) in nodes for placement in attempt.placements)
            for attempt in self._standing.stopping
        )

"""Random stories: arrivals, ends and preemptions for many passes, until all that can has run.

Looked for beside what must hold of every pass: two attempts that stop each other in turn, one that is
stopped again and again while nothing else happens, a reservation that moves away while limits hold, and
anyone who could run and never does.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from footplate_hub.queue.memory import Memory
from footplate_hub.queue.model import Plan, Snapshot, Workload
from footplate_hub.queue.schedule import schedule

from .ledger import Chunk
from .oracle import Moment, starts
from .story import Story
from .verdict import judge
from .worlds import NOW, crowded_world, varied_world

__all__ = ["prove"]

PASSES = 120
GRACE = 10.0


def prove(seed: int, *, priorities: bool = True) -> Chunk:
    """Live one story and judge each of its passes."""
    chunk = Chunk()
    chance = random.Random(seed)
    life = _Life(chance, chunk, f"story {seed}", priorities=priorities)
    for _ in range(PASSES):
        if not life.go_on():
            break
    life.look_back()
    chunk.counts["stories"] += 1
    return chunk


class _Life:
    def __init__(self, chance: random.Random, chunk: Chunk, name: str, *, priorities: bool) -> None:
        self._chance = chance
        self._chunk = chunk
        self._name = name
        make = chance.choice([varied_world, crowded_world])
        world = make(chance)
        nodes = tuple(replace(node, unusable=None) for node in world.nodes)
        groups, clusters = world.groups, world.clusters
        if not priorities:
            groups = {name: replace(group, policy=None) for name, group in groups.items()}
            clusters = {name: replace(cluster, policy=None) for name, cluster in clusters.items()}
        self.story = Story(nodes, groups, clusters)
        self._coming = [
            _mortal(replace(w, id=f"w{number}", priority=w.priority if priorities else 0), chance)
            for number, w in enumerate(_many(chance, make))
        ]
        self._equals = not priorities
        self._ends: dict[str, float] = {}
        self._make_room_at: dict[str, float] = {}
        self._stopped_by: set[tuple[str, str]] = set()
        self._stops_since_event: dict[str, int] = {}
        self._promised: dict[str, float] = {}
        self._left = list(self._coming)
        self._memory = Memory()
        self._untold: tuple[Plan, dict[str, str]] | None = None

    def go_on(self) -> bool:
        """One pass, then the next thing that happens; False when nothing will."""
        self._arrive()
        snapshot = self.story.snapshot
        warm = schedule(snapshot, self.story.now, self._memory)
        _, plan = self.story.step()
        self._compare_memory(warm, plan)
        judge(self._chunk, self._name, snapshot, self.story.now, plan)
        self._remember(snapshot, plan)
        times = [*self._ends.values(), *self._make_room_at.values(), *(w.place for w in self._left[:1])]
        if not times:
            return False
        self.story.now = max(self.story.now, min(times))
        self._happen()
        return True

    def _arrive(self) -> None:
        while self._left and self._left[0].place <= self.story.now:
            self.story.submit([self._left.pop(0)])
            self._stops_since_event.clear()

    def _remember(self, snapshot: Snapshot, plan: Plan) -> None:
        for admission in plan.admit:
            workload = admission.workload
            runs = workload.time_limit * self._chance.choice([0.3, 0.8, 1.0, 1.0])
            self._ends[workload.id] = self.story.now + runs
        for preemption in plan.preempt:
            self._stop(preemption.running, preemption.workload)
        if self._equals:
            self._compare_reservations(plan)

    def _compare_memory(self, warm: Plan, cold: Plan) -> None:
        """A pass that remembers the ones before decides the same; its reasons may be read a pass later."""
        when = f"{self._name} at {self.story.now - NOW}"
        if (warm.admit, warm.preempt, warm.reserve) != (cold.admit, cold.preempt, cold.reserve):
            self._chunk.found("violated: a pass that remembers decides differently", when)
        if self._untold is not None:
            late, told = self._untold
            if {name: reason.message for name, reason in late.reasons.items()} != told:
                self._chunk.found("violated: a reason read a pass later is another", when)
        self._untold = (warm, {name: reason.message for name, reason in cold.reasons.items()})

    def _compare_reservations(self, plan: Plan) -> None:
        """Of equals who go first come first served, only one who came before may move a reservation away.

        Whoever has others stopped does so too: when these are gone is bounded by no limit.
        """
        before, self._promised = self._promised, {r.workload: r.start for r in plan.reserve}
        owed = [workload.id for workload in self.story.waiting.values() if workload.owed]
        names = [*(admission.workload.id for admission in plan.admit), *self._promised, *owed]
        movers = [self.story.known[name].rank for name in names]
        for name, start in self._promised.items():
            undisturbed = all(rank >= self.story.known[name].rank for rank in movers)
            if undisturbed and start > before.get(name, start) + 1e-6:
                self._chunk.found(
                    "violated: a reservation moved away",
                    f"{self._name} at {self.story.now - NOW}: {name} from "
                    f"{before[name] - NOW} to {start - NOW}",
                )

    def _stop(self, victim: str, preemptor: str) -> None:
        self._make_room_at[victim] = self.story.now + GRACE
        self._ends.pop(victim, None)
        self._stopped_by.add((preemptor, victim))
        if (victim, preemptor) in self._stopped_by:
            self._chunk.found(
                "violated: two stop each other",
                f"{self._name} at {self.story.now - NOW}: {victim}, {preemptor}",
            )
        self._stops_since_event[victim] = self._stops_since_event.get(victim, 0) + 1
        if self._stops_since_event[victim] > 1:
            self._chunk.found(
                "violated: stopped twice while nothing happened",
                f"{self._name} at {self.story.now - NOW}: {victim} for {preemptor}",
            )

    def _happen(self) -> None:
        for name in [name for name, when in self._ends.items() if when <= self.story.now]:
            del self._ends[name]
            self.story.end(name)
            self._stops_since_event.clear()
        due = [name for name, when in self._make_room_at.items() if when <= self.story.now]
        for name in due:
            del self._make_room_at[name]
            self.story.leave(name)

    def look_back(self) -> None:
        """When nothing runs and nothing comes, who still waits must never be able to run."""
        snapshot = self.story.snapshot
        if self._ends or self._make_room_at or self._left:
            self._chunk.counts["stories cut short"] += 1
            return
        for workload in self.story.waiting.values():
            self._chunk.counts["left waiting"] += 1
            if starts(snapshot, workload, Moment(())):
                self._chunk.found("violated: starved", f"{self._name}: {workload.id}")


def _many(chance: random.Random, make: Callable[[random.Random], Snapshot]) -> list[Workload]:
    """Workloads that come one after the other."""
    found: list[Workload] = []
    when = NOW
    while len(found) < 14:
        for line in make(chance).lines:
            found += line.workloads
    found = found[:14]
    timed = []
    for workload in found:
        timed.append(replace(workload, place=when))
        when += chance.choice([0, 0, 10, 40])
    return timed


def _mortal(workload: Workload, chance: random.Random) -> Workload:
    """It ends some day, so that those behind it may hope."""
    return replace(workload, time_limit=workload.time_limit or chance.choice([50, 150]), waits=None)

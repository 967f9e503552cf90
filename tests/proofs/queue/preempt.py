"""Who may be stopped for whom, and what must come of it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from footplate_hub.queue.model import Place, Plan, Running, Snapshot, Workload

from .oracle import Moment, starts, wherever
from .reserved import delays, end_of
from .room import NEVER, RESOURCES, Way, ends_of, free_room, gangs, permitted, ways
from .tree import Use, above, over_nominal

__all__ = ["preemption_violations"]

MOST_RUNNING = 10  # smaller sacrifices are looked for among so many
MOST_TRIED = 3000  # placements tried for one way


def preemption_violations(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
    """Everything that is wrong with who is stopped."""
    waiting = {w.id: w for line in snapshot.lines for w in line.workloads}
    running = {r.id: r for r in snapshot.running}
    for name, times in Counter(p.running for p in plan.preempt).items():
        if times > 1:
            yield f"{name} is stopped {times} times"
    for preemption in plan.preempt:
        if preemption.running not in running or preemption.workload not in waiting:
            yield f"{preemption} names nobody"
            return
    for name in dict.fromkeys(p.workload for p in plan.preempt):
        mine = [p for p in plan.preempt if p.workload == name]
        others = {p.running: waiting[p.workload] for p in plan.preempt if p.workload != name}
        victims = [running[p.running] for p in mine]
        for preemption, victim in zip(mine, victims, strict=True):
            yield from _wronged(victim, waiting[name], preemption.why)
        owed = {p.workload for p in plan.preempt} | {w.id for w in waiting.values() if w.owed}
        owed -= {admission.workload.id for admission in plan.admit}
        case = _Case(
            snapshot, plan, waiting[name], others, [waiting[other] for other in owed - {name}], now=now
        )
        yield from _in_vain(plan, case, victims)


def _wronged(victim: Running, workload: Workload, why: str) -> Iterator[str]:
    if victim.stopping:
        yield f"{victim.id} is stopped for {workload.id} although it stops already"
    if not victim.preemptible:
        yield f"{victim.id} is stopped for {workload.id} although it may not be"
    if why == "priority" and not outranks(workload, victim):
        yield f"{victim.id} is stopped for {workload.id} without a higher priority in its group"


def outranks(workload: Workload, victim: Running) -> bool:
    """Higher priority, in the same group; the victim may be in a group below."""
    return workload.priority > victim.priority and workload.group in above(victim.group)


def lent_to(snapshot: Snapshot, uses: Sequence[Use], workload: Workload, way: Way, victim: Running) -> bool:
    """Whether the victim's side has borrowed what is nominally the workload's side's.

    Below the nearest group that has both: with the workload, everyone on its side stays within its nominal
    amounts, and everyone on the victim's side is beyond its own of something that the workload asks.
    """
    shared = set(above(workload.group)) & set(above(victim.group))
    mine = [name for name in above(workload.group) if name not in shared]
    theirs = [name for name in above(victim.group) if name not in shared]
    borrowed = False
    for (place, resource), asked in _asked(workload, way).items():
        lenders = [over_nominal(snapshot, uses, name, place, resource) for name in mine]
        borrowers = [over_nominal(snapshot, uses, name, place, resource) for name in theirs]
        lending = [by for by in lenders if by is not None]
        borrowing = [by for by in borrowers if by is not None]
        if any(by + asked > 0 for by in lending):
            return False
        borrowed = borrowed or bool(lending and borrowing and all(by > 0 for by in borrowing))
    return borrowed


def _asked(workload: Workload, way: Way) -> dict[tuple[Place, str], int]:
    asked: dict[tuple[Place, str], int] = {}
    for role, flavor in zip(workload.shape.roles, way.flavors, strict=True):
        for resource in RESOURCES:
            if amount := getattr(role.need, resource) * role.replicas:
                key = ((way.cluster, flavor), resource)
                asked[key] = asked.get(key, 0) + amount
    return asked


class _Case:
    """One preemptor, when those that leave for others, or anyway, are gone."""

    def __init__(
        self,
        snapshot: Snapshot,
        plan: Plan,
        workload: Workload,
        others: dict[str, Workload],
        owed: Iterable[Workload],
        *,
        now: float,
    ) -> None:
        self.snapshot = snapshot
        self.workload = workload
        self.alone = not others
        self._stopping = {r.id for r in snapshot.running if r.stopping}
        self._others = others
        self._admitted = plan.admit
        holders = {w.id: w for line in snapshot.lines for w in line.workloads}
        self._now = now
        self._kept = [
            (reservation, holder)
            for reservation in plan.reserve
            if (holder := holders.get(reservation.workload)) is not None and holder.rank < workload.rank
        ]
        self._owed = [
            Use(other.group, other.owner, wherever(other, next(ways(snapshot, other.shape))))
            for other in owed
            if other.rank < workload.rank
        ]

    def uses(self, gone: Iterable[str], *, ahead: bool = False) -> list[Use]:
        """What is left, and what starts; ``ahead``: and is owed room, at the preemptor's turn."""
        others = {n for n, by in self._others.items() if not ahead or by.rank < self.workload.rank}
        out = self._stopping | others | set(gone)
        left = [Use(r.group, r.owner, r.placements) for r in self.snapshot.running if r.id not in out]
        return [*left, *(self._owed if ahead else ())] + [
            Use(a.workload.group, a.workload.owner, a.placements)
            for a in self._admitted
            if not ahead or a.workload.rank < self.workload.rank
        ]

    def starts(self, victims: Sequence[Running]) -> bool:
        """Whether it starts in some way when they are gone too."""
        return starts(self.snapshot, self.workload, Moment(tuple(self.uses(v.id for v in victims))))

    def works(self, victims: Sequence[Running], *, at_once: bool = False) -> bool:
        """Whether it does so by its rights: delays no reservation ahead, and may stop them all.

        One after the other, in some order: what the first frees is no longer borrowed. ``at_once``: beside
        all that is reserved, as if that began now.
        """
        gone = [victim.id for victim in victims]
        kept = [Use(w.group, w.owner, r.placements) for r, w in self._kept] if at_once else []
        moment = Moment((*self.uses(gone), *kept))
        return any(
            starts(self.snapshot, self.workload, moment, only=way)
            and (at_once or self._delays_nobody(way, moment, gone))
            and any(self._may(order, way) for order in itertools.permutations(victims))
            for way in ways(self.snapshot, self.workload.shape)
        )

    def _delays_nobody(self, way: Way, moment: Moment, gone: Iterable[str]) -> bool:
        """Whether it may go somewhere where no reservation ahead starts later for it."""
        if not self._kept:
            return True
        snapshot, workload, away = self.snapshot, self.workload, self._stopping | {*self._others, *gone}
        busy = [
            (ends_of(r, self._now), Use(r.group, r.owner, r.placements))
            for r in snapshot.running
            if r.id not in away
        ]
        busy += [
            (end_of(a.workload, self._now), Use(a.workload.group, a.workload.owner, a.placements))
            for a in self._admitted
        ]
        nodes = permitted(snapshot, workload.shape, way.cluster)
        free = free_room(snapshot, moment.placements)
        return any(
            not any(
                delays(snapshot, r, holder, busy, (NEVER, Use(workload.group, workload.owner, placements)))
                for r, holder in self._kept
            )
            for placements in itertools.islice(gangs(workload.shape, way, nodes, free), MOST_TRIED)
        )

    def _may(self, order: Sequence[Running], way: Way) -> bool:
        return all(
            outranks(self.workload, victim)
            or lent_to(
                self.snapshot,
                self.uses((v.id for v in order[:number]), ahead=True),
                self.workload,
                way,
                victim,
            )
            for number, victim in enumerate(order)
        )


def _in_vain(plan: Plan, case: _Case, victims: Sequence[Running]) -> Iterator[str]:
    """Stopped for nothing: it does not start then, or would with fewer, or starts anyway."""
    name = case.workload.id
    if name in {a.workload.id for a in plan.admit}:
        yield f"{name} starts and stops others"
    elif name in plan.reasons and plan.reasons[name].code.value != "WaitingForPreemptedWorkloads":
        yield f"{name} stops others and its reason is {plan.reasons[name].code}"
    if not case.starts(victims):
        yield f"{name} does not start when {[v.id for v in victims]} are gone"
    elif not case.works(victims):
        yield f"{[v.id for v in victims]} are stopped for {name} without having borrowed from its group"
    elif case.alone and len(case.snapshot.running) <= MOST_RUNNING:
        for count in range(len(victims)):
            for fewer in itertools.combinations(_stoppable(case), count):
                if case.works(fewer, at_once=True):
                    yield f"{name} stops {[v.id for v in victims]}; {[v.id for v in fewer]} would do"
                    return


def _stoppable(case: _Case) -> list[Running]:
    """Who may be stopped at all; what runs on nodes that are gone is lost anyway."""
    nodes = {(node.cluster, node.name) for node in case.snapshot.nodes}
    return [
        r
        for r in case.snapshot.running
        if r.preemptible and not r.stopping and any((p.cluster, p.node) in nodes for p in r.placements)
    ]

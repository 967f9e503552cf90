"""Who may be stopped for whom, and what must come of it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator

from footplate_hub.queue.model import Plan, Running, Snapshot, Workload

from .oracle import Moment, starts
from .room import RESOURCES
from .tree import Use, above, over_nominal

__all__ = ["preemption_violations"]


def preemption_violations(snapshot: Snapshot, now: float, plan: Plan) -> Iterator[str]:
    """Everything that is wrong with who is stopped."""
    waiting = {w.id: w for line in snapshot.lines for w in line.workloads}
    running = {r.id: r for r in snapshot.running}
    for name, times in Counter(p.running for p in plan.preempt).items():
        if times > 1:
            yield f"{name} is stopped {times} times"
    for preemption in plan.preempt:
        victim, workload = running.get(preemption.running), waiting.get(preemption.workload)
        if victim is None or workload is None:
            yield f"{preemption} names nobody"
            continue
        yield from _wronged(snapshot, plan, victim, workload, preemption.why)
    for name in dict.fromkeys(p.workload for p in plan.preempt):
        if name in waiting:
            yield from _in_vain(snapshot, plan, waiting[name])


def _wronged(snapshot: Snapshot, plan: Plan, victim: Running, workload: Workload, why: str) -> Iterator[str]:
    if victim.stopping:
        yield f"{victim.id} is stopped for {workload.id} although it stops already"
    if not victim.preemptible:
        yield f"{victim.id} is stopped for {workload.id} although it may not be"
    if why == "priority" and not may_preempt(victim, workload):
        yield f"{victim.id} is stopped for {workload.id} without a higher priority in its group"
    if why == "reclaim" and not may_reclaim(snapshot, _uses(snapshot, plan, ()), victim, workload):
        yield f"{victim.id} is stopped for {workload.id} without having borrowed from its group"


def may_preempt(victim: Running, workload: Workload) -> bool:
    """Higher priority, in the same group; the victim may be in a group below."""
    return workload.priority > victim.priority and workload.group in above(victim.group)


def may_reclaim(snapshot: Snapshot, uses: list[Use], victim: Running, workload: Workload) -> bool:
    """Whether the victim's side has borrowed what is nominally the workload's side's, of something asked."""
    mine, theirs = above(workload.group), above(victim.group)
    shared = set(mine) & set(theirs)
    for cluster, flavor in {(p.cluster, p.flavor) for p in victim.placements}:
        for resource in RESOURCES:
            if not any(getattr(role.need, resource) for role in workload.shape.roles):
                continue
            over = {
                name: over_nominal(snapshot, uses, name, (cluster, flavor), resource)
                for name in (*mine, *theirs)
                if name not in shared
            }
            lenders = [over[name] for name in mine if name not in shared and over[name] is not None]
            borrowers = [over[name] for name in theirs if name not in shared and over[name] is not None]
            if lenders and borrowers and all(by > 0 for by in borrowers if by is not None):
                return True
    return False


def _uses(snapshot: Snapshot, plan: Plan, gone: Iterable[str]) -> list[Use]:
    """What runs without those that are gone, and what starts."""
    out = set(gone)
    uses = [Use(r.group, r.owner, r.placements) for r in snapshot.running if r.id not in out]
    return uses + [Use(a.workload.group, a.workload.owner, a.placements) for a in plan.admit]


def _in_vain(snapshot: Snapshot, plan: Plan, workload: Workload) -> Iterator[str]:
    """Stopped for nothing: it does not start then, or would with fewer, or starts anyway."""
    name = workload.id
    if name in {a.workload.id for a in plan.admit}:
        yield f"{name} starts and stops others"
    elif plan.reasons[name].code.value != "WaitingForPreemptedWorkloads":
        yield f"{name} stops others and its reason is {plan.reasons[name].code}"
    others = {p.running for p in plan.preempt if p.workload != name}
    leaving = {r.id for r in snapshot.running if r.stopping} | others
    mine = [p.running for p in plan.preempt if p.workload == name]

    def starts_without(gone: Iterable[str]) -> bool:
        return starts(snapshot, workload, Moment(tuple(_uses(snapshot, plan, gone))), frozenset())

    if not starts_without([*leaving, *mine]):
        yield f"{name} does not start when {mine} are gone"
        return
    if others:
        return  # what others free is theirs: how few would do cannot be told from one workload alone
    for fewer in itertools.combinations(mine, len(mine) - 1):
        if starts_without([*leaving, *fewer]):
            yield f"{name} stops {mine}; {list(fewer)} would do"
            return

"""One pass judged: what is wrong with its plan, and whether its reasons are the oracle's."""

from __future__ import annotations

import re
from collections.abc import Iterator

from footplate_hub.queue.model import Plan, Snapshot, Workload

from .check import violations
from .ledger import Chunk
from .oracle import Moment, by_rank, dominant_cause, uses_of
from .tree import Use

__all__ = ["judge"]


def judge(chunk: Chunk, world: str, snapshot: Snapshot, now: float, plan: Plan) -> None:
    """Count the pass, and everything that is found."""
    chunk.counts["passes"] += 1
    chunk.counts["admitted"] += len(plan.admit)
    chunk.counts["preempted"] += len(plan.preempt)
    chunk.counts["reserved"] += len(plan.reserve)
    for sentence in violations(snapshot, now, plan):
        chunk.found("violated: " + _kind(sentence), f"{world}: {sentence}")
    for workload, told in _told(plan):
        chunk.counts["reasons"] += 1
        causes = _oracle_says(snapshot, workload, plan)
        if told in causes:
            chunk.counts["agreed"] += 1
        else:
            chunk.found(f"told {told}, oracle {' or '.join(sorted(causes))}", f"{world}: {workload.id}")


def _told(plan: Plan) -> Iterator[tuple[Workload, str]]:
    """The first of each line: those behind it share its reason."""
    for blocked in plan.blocked:
        yield blocked.workloads[0], blocked.reason.code.value


def _oracle_says(snapshot: Snapshot, workload: Workload, plan: Plan) -> set[str]:
    """The cause at its turn, and once the pass is over; in other orders than by rank, at any turn."""
    if workload.owed or workload.id in {preemption.workload for preemption in plan.preempt}:
        return {"WaitingForPreemptedWorkloads"}
    started = [Use(a.workload.group, a.workload.owner, a.placements) for a in plan.admit]
    if by_rank(snapshot):
        ahead = [a.workload.rank < workload.rank for a in plan.admit]
        moments = [[use for use, first in zip(started, ahead, strict=True) if first], started]
    else:
        moments = [started[:count] for count in range(len(started) + 1)]
    return {dominant_cause(snapshot, workload, Moment(uses_of(snapshot, uses))) for uses in moments}


def _kind(sentence: str) -> str:
    """The sentence without names and numbers."""
    bare = re.sub(r"\[[^]]*\]|Statement\([^)]*\)+|\b[wrn]\d+\b|\d+(\.\d+)?", "…", sentence)
    return re.sub(r"'\w+'", "…", bare)

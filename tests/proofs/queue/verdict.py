"""One pass judged: what is wrong with its plan, and whether its reasons are the oracle's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from footplate_hub.queue.model import Blocked, Plan, Snapshot, Workload

from .check import violations
from .ledger import Chunk
from .oracle import Moment, by_rank, dominant_cause, suffices, uses_of
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
    for blocked in plan.blocked:
        _judge_reason(chunk, world, snapshot, plan, blocked)


def _judge_reason(chunk: Chunk, world: str, snapshot: Snapshot, plan: Plan, blocked: Blocked) -> None:
    """Of the first of each line: those behind it share its reason."""
    workload, told = blocked.workloads[0], blocked.reason.code.value
    chunk.counts["reasons"] += 1
    if workload.owed or workload.id in {preemption.workload for preemption in plan.preempt}:
        causes = {"WaitingForPreemptedWorkloads"}
    else:
        moments = list(_moments(snapshot, workload, plan))
        causes = {dominant_cause(snapshot, workload, moment) for moment in moments}
        _judge_set(chunk, world, snapshot, blocked, moments)
    if told in causes:
        chunk.counts["agreed"] += 1
    else:
        chunk.found(f"told {told}, oracle {' or '.join(sorted(causes))}", f"{world}: {workload.id}")


def _moments(snapshot: Snapshot, workload: Workload, plan: Plan) -> Iterator[Moment]:
    """When it was its turn, and once the pass is over; in other orders than by rank, whenever that was."""
    started = [Use(a.workload.group, a.workload.owner, a.placements) for a in plan.admit]
    if by_rank(snapshot):
        ahead = [a.workload.rank < workload.rank for a in plan.admit]
        yield Moment(uses_of(snapshot, [use for use, first in zip(started, ahead, strict=True) if first]))
        yield Moment(uses_of(snapshot, started))
    else:
        for count in range(len(started) + 1):
            yield Moment(uses_of(snapshot, started[:count]))


def _judge_set(
    chunk: Chunk, world: str, snapshot: Snapshot, blocked: Blocked, moments: Sequence[Moment]
) -> None:
    """Whether all causes that are told, lifted together, let it start, and none of them is needless."""
    workload = blocked.workloads[0]
    codes = frozenset(cause.code.value for cause in (blocked.reason, *blocked.reason.causes))
    chunk.counts["sets"] += 1
    if not any(suffices(snapshot, workload, moment, codes) for moment in moments):
        chunk.found("set not sufficient", f"{world}: {workload.id}: {sorted(codes)}")
    for code in sorted(codes - {"ReservedForAhead"}):
        if all(suffices(snapshot, workload, moment, codes - {code}) for moment in moments):
            chunk.found("set not minimal", f"{world}: {workload.id}: {sorted(codes)} without {code}")
            break


def _kind(sentence: str) -> str:
    """The sentence without names and numbers."""
    bare = re.sub(r"\[[^]]*\]|Statement\([^)]*\)+|\b[wrn]\d+\b|\d+(\.\d+)?", "…", sentence)
    return re.sub(r"'\w+'", "…", bare)

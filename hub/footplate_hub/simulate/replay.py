"""A trace replayed event by event through the pass that the service runs.

Events at one time are taken together, then one pass decides: what it admits runs for as long as its work
takes or its limit allows; what it preempts is stopped after its grace and waits again at its old place; what
a lost node carried waits again too. A job that checkpoints loses what it did since its last checkpoint, on a
preemption nothing; one that does not loses all.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from ..queue.memory import Memory
from ..queue.model import GroupModel, Plan, Policy, Snapshot, Workload
from ..queue.schedule import schedule
from .trace import Outage, Trace, TraceJob
from .world import Job, World

__all__ = ["Moment", "Replayed", "Watcher", "replay"]

_GRACE = 60.0
_HALF_LIFE = 7 * 86400.0
_LOST = "the trace says that it is away"


class _Kind(IntEnum):
    """Of several events at one time, what frees comes first."""

    END = 0
    BACK = 1
    LOST = 2
    SUBMIT = 3


@dataclass(frozen=True, slots=True)
class Moment:
    """How things stand from ``time`` until the next moment."""

    time: float
    used_gpus: int
    waiting: int
    longest_wait: float
    stranded_gpus: int
    free_gpus: int


@dataclass
class Replayed:
    """What happened.

    Parameters
    ----------
    reasons
        Seconds waited by reason, over all jobs.
    never
        Why those that never ran did not, by id.
    """

    trace: Trace
    policy: Policy
    jobs: dict[str, Job]
    moments: list[Moment] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    never: dict[str, str] = field(default_factory=dict)
    passes: int = 0
    ended: float = 0.0


Watcher = Callable[[Snapshot, Plan, float, list[Job], list[Job], list[Job]], None]


def replay(
    trace: Trace,
    policy: Policy,
    *,
    groups: Iterable[GroupModel] = (),
    watch: Watcher | None = None,
) -> Replayed:
    """Run until nothing happens any more.

    Parameters
    ----------
    policy
        Of every cluster.
    groups
        With their quotas; others have none.
    watch
        Called after each pass with its snapshot, plan and time, and the jobs that were submitted, that
        started and that ended since the one before.
    """
    return _Replay(World(trace, policy, _HALF_LIFE, {group.name: group for group in groups}), watch).run()


class _Replay:
    def __init__(self, world: World, watch: Watcher | None) -> None:
        self._world, trace = world, world.trace
        self._result = Replayed(trace, world.policy, world.jobs)
        self._watch = watch
        self._memory = Memory()
        self._number = 0
        self._events: list[tuple[float, _Kind, int, TraceJob | Outage | tuple[str, int]]] = []
        self._submitted: list[Job] = []
        self._ended: list[Job] = []
        for outage in trace.outages:
            self._at(outage.start, _Kind.LOST, outage)
            if outage.end != float("inf"):
                self._at(outage.end, _Kind.BACK, outage)
        for job in trace.jobs:
            self._at(job.submit, _Kind.SUBMIT, job)

    def run(self) -> Replayed:
        plan = Plan()
        now = 0.0
        while self._events:
            before, now = now, self._events[0][0]
            for blocked in plan.blocked:
                self._result.reasons[blocked.code] += len(blocked.workloads) * (now - before)  # type: ignore[assignment]
            while self._events and self._events[0][0] <= now:
                _, kind, _, what = heapq.heappop(self._events)
                self._happen(kind, what, now)
            plan = self._pass(now)
        self._result.ended = now
        self._result.never = {w.id: blocked.code for blocked in plan.blocked for w in blocked.workloads}
        return self._result

    def _at(self, time: float, kind: _Kind, what: TraceJob | Outage | tuple[str, int]) -> None:
        self._number += 1
        heapq.heappush(self._events, (time, kind, self._number, what))

    def _happen(self, kind: _Kind, what: TraceJob | Outage | tuple[str, int], now: float) -> None:
        if isinstance(what, TraceJob):
            self._submit(what, now)
        elif isinstance(what, Outage):
            self._world.set_node(what.cluster, what.node, _LOST if kind == _Kind.LOST else None)
            if kind == _Kind.LOST:
                for id_ in sorted(self._world.on_node.get((what.cluster, what.node), ())):
                    self._interrupt(self._world.jobs[id_], now, saves=False)
        else:
            id_, attempt = what
            job = self._world.jobs[id_]
            if job.began is None or job.attempt != attempt:
                return  # it was interrupted before this could come
            done = now - job.began
            limit = job.workload.time_limit
            if self._world.running[id_].stopping and done < job.left and not (limit and done >= limit):
                self._interrupt(job, now, saves=True)
                job.preempted += 1
            else:
                job.over_limit = done < job.left
                job.ended = now
                self._world.end(job, now)
                self._ended.append(job)

    def _submit(self, what: TraceJob, now: float) -> None:
        workload = Workload(
            id=what.id,
            group=what.group,
            priority=what.priority,
            place=what.submit,
            shape=what.shape,
            time_limit=what.time_limit,
            owner=what.owner,
        )
        job = Job(what, workload, what.duration)
        self._world.jobs[what.id] = job
        self._world.wait(job, now)
        self._submitted.append(job)

    def _interrupt(self, job: Job, now: float, *, saves: bool) -> None:
        """It loses its nodes, keeps what it saved, and waits again at its old place."""
        assert job.began is not None
        done = now - job.began
        every = job.trace.checkpoint
        kept = 0.0 if not every else done if saves else done // every * every
        job.left -= kept
        job.lost += (done - kept) * job.trace.gpus
        self._world.end(job, now)
        self._world.wait(job, now)

    def _pass(self, now: float) -> Plan:
        self._world.note_checkpoints(now)
        snapshot = self._world.snapshot(now)
        plan = schedule(snapshot, now, self._memory)
        started = self._world.admit(plan.admit, now)
        for job in started:
            limit = job.workload.time_limit
            self._at(
                now + (min(job.left, limit) if limit else job.left), _Kind.END, (job.trace.id, job.attempt)
            )
        for preemption in plan.preempt:
            self._world.owe(self._world.jobs[preemption.workload])
            job = self._world.jobs[preemption.running]
            if not self._world.running[preemption.running].stopping:
                self._world.stop(job)
                self._at(now + _GRACE, _Kind.END, (job.trace.id, job.attempt))
        self._note(plan, now)
        if self._watch is not None:
            self._watch(snapshot, plan, now, self._submitted, started, self._ended)
        self._submitted, self._ended = [], []
        return plan

    def _note(self, plan: Plan, now: float) -> None:
        self._result.passes += 1
        stranded, free = self._world.stranded_gpus()
        first = min((blocked.workloads[0].place for blocked in plan.blocked), default=now)
        self._result.moments.append(
            Moment(now, self._world.used_gpus, self._world.waiting, now - first, stranded, free)
        )

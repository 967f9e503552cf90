"""Other schedulers on the same trace, written here for comparison and sharing no code with the queue.

All place a gang first fit, on nodes of one flavor, whole or not at all. They differ in who may start:

- ``fifo``: the first, and nobody before it;
- ``easy``: the first has a reservation bounded by time limits, and others may pass if they do not delay it
  (EASY backfill; Lifka, 1995);
- ``first_fit``: whoever fits, first come first tried, as Kubernetes' queue with coscheduling does.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from footplate_hub.simulate.trace import Trace, TraceJob

__all__ = ["RIVALS", "Ran", "run"]

Room = list[list[int]]  # nodes × (cpu, memory, gpu)
Where = list[tuple[int, int]]  # node, replicas


@dataclass
class Ran:
    """When each job started and ended."""

    started: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)


class _Cluster:
    def __init__(self, trace: Trace) -> None:
        self.free: Room = [[n.capacity.cpu, n.capacity.memory, n.capacity.gpu] for n in trace.nodes]
        self.flavors: dict[str, list[int]] = {}
        for number, node in enumerate(trace.nodes):
            self.flavors.setdefault(node.flavor, []).append(number)
        self.running: dict[str, tuple[float, TraceJob, Where]] = {}  # by id: end by limit

    def fit(self, job: TraceJob, room: Room, flavor: str) -> Where | None:
        [role] = job.shape.roles
        need = (role.need.cpu, role.need.memory, role.need.gpu)
        left, where = role.replicas, []
        for node in self.flavors[flavor]:
            times = min(
                (have // asked for have, asked in zip(room[node], need, strict=True) if asked), default=left
            )
            if times > 0:
                where.append((node, min(times, left)))
                left -= where[-1][1]
                if not left:
                    return where
        return None

    def wishes(self, job: TraceJob) -> list[str]:
        [role] = job.shape.roles
        return [f for f in role.flavors if f in self.flavors] if role.flavors else sorted(self.flavors)

    def anywhere(self, job: TraceJob) -> Where | None:
        for flavor in self.wishes(job):
            if (where := self.fit(job, self.free, flavor)) is not None:
                return where
        return None

    def begin(self, job: TraceJob, where: Where, now: float) -> None:
        change(self.free, job, where, -1)
        self.running[job.id] = (now + (job.time_limit or math.inf), job, where)

    def end(self, id_: str) -> None:
        _, job, where = self.running.pop(id_)
        change(self.free, job, where, 1)


def change(room: Room, job: TraceJob, where: Where, sign: int) -> None:
    [role] = job.shape.roles
    for node, count in where:
        room[node][0] += sign * count * role.need.cpu
        room[node][1] += sign * count * role.need.memory
        room[node][2] += sign * count * role.need.gpu


Policy = Callable[[_Cluster, list[TraceJob], float], list[TraceJob]]  # starts jobs and says which


def fifo(cluster: _Cluster, queue: list[TraceJob], now: float) -> list[TraceJob]:
    started = []
    for job in queue:
        where = cluster.anywhere(job)
        if where is None:
            break
        cluster.begin(job, where, now)
        started.append(job)
    return started


def first_fit(cluster: _Cluster, queue: list[TraceJob], now: float) -> list[TraceJob]:
    started, failed = [], set()
    for job in queue:
        if id(job.shape) in failed:
            continue
        where = cluster.anywhere(job)
        if where is None:
            failed.add(id(job.shape))
            continue
        cluster.begin(job, where, now)
        started.append(job)
    return started


def easy(cluster: _Cluster, queue: list[TraceJob], now: float) -> list[TraceJob]:
    started = fifo(cluster, queue, now)
    rest = queue[len(started) :]
    if not rest:
        return started
    head = rest[0]
    flavor, shadow, then = _reservation(cluster, head)
    failed: set[tuple[int, bool]] = set()
    for job in rest[1:]:
        short = now + (job.time_limit or math.inf) <= shadow
        if (id(job.shape), short) in failed:
            continue
        where = _passing(cluster, job, short=short, head=head, flavor=flavor, then=then)
        if where is None:
            failed.add((id(job.shape), short))
            continue
        cluster.begin(job, where, now)
        if not short:
            change(then, job, where, -1)
        started.append(job)
    return started


def _reservation(cluster: _Cluster, head: TraceJob) -> tuple[str, float, Room]:
    """The flavor in which the first fits soonest, when, and what is free then."""
    best: tuple[str, float, Room] = ("", math.inf, [list(row) for row in cluster.free])
    room = [list(row) for row in cluster.free]
    for limit, job, where in sorted(cluster.running.values(), key=lambda running: running[0]):
        if limit == math.inf:
            break
        change(room, job, where, 1)
        for flavor in cluster.wishes(head):
            if cluster.fit(head, room, flavor) is not None:
                return flavor, limit, room
    return best


def _passing(
    cluster: _Cluster, job: TraceJob, *, short: bool, head: TraceJob, flavor: str, then: Room
) -> Where | None:
    for wish in cluster.wishes(job):
        where = cluster.fit(job, cluster.free, wish)
        if where is None:
            continue
        if short or wish != flavor:
            return where
        change(then, job, where, -1)
        delays = cluster.fit(head, then, flavor) is None
        change(then, job, where, 1)
        if not delays:
            return where
    return None


RIVALS: dict[str, Policy] = {"plain FIFO": fifo, "EASY backfill": easy, "first fit": first_fit}


def run(trace: Trace, policy: Policy) -> Ran:
    """Play the whole trace."""
    cluster, ran = _Cluster(trace), Ran()
    ends: list[tuple[float, str]] = []
    queue: list[TraceJob] = []
    coming = list(reversed(trace.jobs))
    while coming or ends:
        now = min(coming[-1].submit if coming else math.inf, ends[0][0] if ends else math.inf)
        while ends and ends[0][0] <= now:
            _, id_ = heapq.heappop(ends)
            cluster.end(id_)
            ran.ended[id_] = now
        while coming and coming[-1].submit <= now:
            queue.append(coming.pop())
        for job in (started := policy(cluster, queue, now)):
            ran.started[job.id] = now
            takes = min(job.duration, job.time_limit) if job.time_limit else job.duration
            heapq.heappush(ends, (now + takes, job.id))
        gone = {job.id for job in started}
        queue = [job for job in queue if job.id not in gone] if gone else queue
    return ran

"""The world of a replay between two passes: who waits, who runs, which nodes are there.

Lines and running attempts stay the same objects until something about them changes, so that a pass finds
again what it knew.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ..queue.model import (
    Admission,
    ClusterModel,
    GroupModel,
    Line,
    Policy,
    Running,
    Shape,
    Snapshot,
    Workload,
)
from .trace import Trace, TraceJob

__all__ = ["Job", "World"]


@dataclass(slots=True)
class Job:
    """What became of a job so far.

    Parameters
    ----------
    left
        Seconds of work that are not saved yet.
    attempt
        How many times it was admitted.
    lost
        GPU-seconds that were done for nothing.
    """

    trace: TraceJob
    workload: Workload
    left: float
    attempt: int = 0
    began: float | None = None
    first: float | None = None
    ended: float | None = None
    over_limit: bool = False
    waited: float = 0.0
    since: float = 0.0
    preempted: int = 0
    lost: float = 0.0


@dataclass
class World:
    """Everything that a snapshot is made of.

    Parameters
    ----------
    groups
        With their quotas, by name.
    half_life
        Seconds after which used GPU-time counts half in fair shares.
    """

    trace: Trace
    policy: Policy
    half_life: float
    groups: Mapping[str, GroupModel] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)
    used_gpus: int = 0
    waiting: int = 0

    def __post_init__(self) -> None:
        """Start with all nodes there and nobody waiting."""
        self._nodes = {(node.cluster, node.name): node for node in self.trace.nodes}
        self._node_tuple = self.trace.nodes
        self._lines: dict[tuple[str, Shape], Line] = {}
        self._clusters = {n.cluster: ClusterModel(n.cluster, policy=self.policy) for n in self.trace.nodes}
        self._shares: dict[str, float] = {}
        self._shares_at = 0.0
        self._used: dict[tuple[str, str], int] = {}
        self.on_node: dict[tuple[str, str], set[str]] = {}

    def snapshot(self, now: float) -> Snapshot:
        """What the pass sees."""
        return Snapshot(
            nodes=self._node_tuple,
            lines=tuple(self._lines.values()),
            running=tuple(self.running.values()),
            groups=self._groups(now),
            clusters=self._clusters,
        )

    def wait(self, job: Job, now: float) -> None:
        """It joins the line at its place."""
        key = (job.workload.group, job.workload.shape)
        line = self._lines.get(key)
        members = list(line.workloads) if line else []
        bisect.insort(members, job.workload, key=lambda w: w.rank)
        self._lines[key] = Line(*key, tuple(members))
        job.since = now
        self.waiting += 1

    def owe(self, job: Job) -> None:
        """Others were stopped for it: it goes before everybody until it starts."""
        if not job.workload.owed:
            key = (job.workload.group, job.workload.shape)
            line = self._lines[key]
            job.workload = replace(job.workload, owed=True)
            members = [w for w in line.workloads if w.id != job.workload.id]
            bisect.insort(members, job.workload, key=lambda w: w.rank)
            self._lines[key] = Line(*key, tuple(members))

    def admit(self, admissions: Iterable[Admission], now: float) -> list[Job]:
        """They leave their lines and run."""
        gone: dict[tuple[str, Shape], set[str]] = {}
        started = []
        for admission in admissions:
            workload = admission.workload
            gone.setdefault((workload.group, workload.shape), set()).add(workload.id)
            started.append(self._begin(admission, now))
        for key, ids in gone.items():
            left = tuple(w for w in self._lines[key].workloads if w.id not in ids)
            if left:
                self._lines[key] = Line(*key, left)
            else:
                del self._lines[key]
        return started

    def _begin(self, admission: Admission, now: float) -> Job:
        workload = admission.workload
        job = self.jobs[workload.id]
        job.workload = workload = replace(workload, owed=False) if workload.owed else workload
        job.attempt += 1
        job.began = now
        job.first = now if job.first is None else job.first
        job.waited += now - job.since
        self.waiting -= 1
        self.running[workload.id] = admission.running(now)
        self._count(workload.id, 1, now)
        return job

    def end(self, job: Job, now: float) -> None:
        """It gives its nodes back."""
        self._count(job.workload.id, -1, now)
        del self.running[job.workload.id]
        job.began = None

    def stop(self, job: Job) -> None:
        """It has been told to make room."""
        self.running[job.workload.id] = replace(self.running[job.workload.id], stopping=True)

    def note_checkpoints(self, now: float) -> None:
        """What can save has saved at every interval since it began."""
        for id_, attempt in self.running.items():
            every = self.jobs[id_].trace.checkpoint
            if every:
                saved = attempt.started + (now - attempt.started) // every * every
                if saved > attempt.started and saved != attempt.saved:
                    self.running[id_] = replace(attempt, saved=saved)

    def set_node(self, cluster: str, name: str, unusable: str | None) -> None:
        """A node goes or comes back."""
        self._nodes[cluster, name] = replace(self._nodes[cluster, name], unusable=unusable)
        self._node_tuple = tuple(self._nodes.values())

    def stranded_gpus(self) -> tuple[int, int]:
        """Free GPUs on nodes that are partly used, and all free GPUs."""
        stranded = free = 0
        for place, node in self._nodes.items():
            if node.unusable is None:
                used = self._used.get(place, 0)
                free += node.capacity.gpu - used
                stranded += node.capacity.gpu - used if used else 0
        return stranded, free

    def _count(self, id_: str, sign: int, now: float) -> None:
        self._decay(now)
        for placement in self.running[id_].placements:
            place = (placement.cluster, placement.node)
            self._used[place] = self._used.get(place, 0) + sign * placement.need.gpu
            self.used_gpus += sign * placement.need.gpu
            on_node = self.on_node.setdefault(place, set())
            on_node.add(id_) if sign > 0 else on_node.discard(id_)

    def _decay(self, now: float) -> None:
        """Bring every group's decayed GPU-seconds up to now."""
        elapsed, self._shares_at = now - self._shares_at, now
        if elapsed <= 0 or self.policy.order == "fifo":
            return
        keep = 0.5 ** (elapsed / self.half_life)
        self._shares = {group: share * keep for group, share in self._shares.items()}
        for attempt in self.running.values():
            grown = elapsed * sum(placement.need.gpu for placement in attempt.placements)
            self._shares[attempt.group] = self._shares.get(attempt.group, 0.0) + grown

    def _groups(self, now: float) -> Mapping[str, GroupModel]:
        self._decay(now)
        if not self._shares:
            return self.groups
        used = {
            group: replace(self.groups.get(group) or GroupModel(group), used=share)
            for group, share in self._shares.items()
        }
        return {**self.groups, **used}

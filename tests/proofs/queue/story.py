"""A world that goes on: pass after pass, things start, end, are preempted and come back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from footplate_hub.queue.model import (
    Admission,
    ClusterModel,
    GroupModel,
    Line,
    NodeModel,
    Plan,
    Running,
    Shape,
    Snapshot,
    Workload,
)
from footplate_hub.queue.schedule import schedule

from .worlds import NOW

__all__ = ["Story"]


class Story:
    """The state between passes, moved as the dispatcher would move it."""

    def __init__(
        self,
        nodes: Sequence[NodeModel],
        groups: Mapping[str, GroupModel] | None = None,
        clusters: Mapping[str, ClusterModel] | None = None,
    ) -> None:
        self.nodes = tuple(nodes)
        self.groups = dict(groups or {})
        self.clusters = dict(clusters or {})
        self.now = NOW
        self.waiting: dict[str, Workload] = {}
        self.running: dict[str, Running] = {}
        self.known: dict[str, Workload] = {}
        self._lines: dict[tuple[str, Shape], Line] = {}

    def copy(self) -> Story:
        """Another that goes its own way from here."""
        other = Story(self.nodes, self.groups, self.clusters)
        other.now = self.now
        other.waiting, other.running = dict(self.waiting), dict(self.running)
        other.known = dict(self.known)
        return other

    def submit(self, workloads: Iterable[Workload]) -> None:
        """They wait from now on."""
        for workload in workloads:
            self.waiting[workload.id] = self.known[workload.id] = workload

    @property
    def snapshot(self) -> Snapshot:
        """What a pass sees."""
        return Snapshot(
            nodes=self.nodes,
            lines=self._same_or_new(Snapshot.lines_of(self.waiting.values())),
            running=tuple(self.running.values()),
            groups=self.groups,
            clusters=self.clusters,
        )

    def _same_or_new(self, lines: Iterable[Line]) -> tuple[Line, ...]:
        """What did not change is the same object as before, as a pass that remembers expects it."""
        known, self._lines = self._lines, {}
        for line in lines:
            before = known.get((line.group, line.shape))
            self._lines[line.group, line.shape] = before if before == line and before is not None else line
        return tuple(self._lines.values())

    def step(self) -> tuple[Snapshot, Plan]:
        """One pass, and what it decides done."""
        snapshot = self.snapshot
        plan = schedule(snapshot, self.now)
        for admission in plan.admit:
            self._start(admission)
        for preemption in plan.preempt:
            victim = self.running[preemption.running]
            self.running[preemption.running] = replace(victim, stopping=True)
            self.waiting[preemption.workload] = replace(self.waiting[preemption.workload], owed=True)
        return snapshot, plan

    def _start(self, admission: Admission) -> None:
        workload = admission.workload
        del self.waiting[workload.id]
        self.running[workload.id] = Running(
            id=workload.id,
            group=workload.group,
            placements=admission.placements,
            priority=workload.priority,
            ends=self.now + workload.time_limit if workload.time_limit else None,
            time_limit=workload.time_limit,
            started=self.now,
            owner=workload.owner,
        )

    def end(self, name: str) -> None:
        """It is done, or has died."""
        del self.running[name]

    def leave(self, name: str) -> None:
        """Told to stop, it is gone now and waits again, in its old place."""
        del self.running[name]
        self.waiting[name] = self.known[name]

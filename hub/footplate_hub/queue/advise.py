"""What would help, and what would be: changes tried, one by one, by the rules of the pass itself.

A tried workload keeps its place in line. Of those ahead only the ones for whom nodes are kept matter; those
behind do not. So a try looks at what the last pass left free, with the reservations of those ahead, and costs
as much as one workload in its turn.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from footplate_spec.reasons import Reason, ReasonCode
from footplate_spec.units import format_seconds

from .admission import Admitter, held_group
from .changes import Change, Family, Freedom, Kind, elsewhere, families, fewer
from .columns import Columns
from .explain import Explainer
from .model import Admission, Reservation, Snapshot, Workload
from .nodes import Nodes
from .orders import Use
from .prospects import Prospect
from .quota import Quotas
from .sequence import Members, arrange
from .standing import Standing

__all__ = ["Advisor", "Fix", "Verdict"]

_PAIRS = 3  # pairs of changes that are offered where no single one helps
_NEVER = {
    ReasonCode.MISCONFIGURED,
    ReasonCode.NO_MATCHING_FLAVOR,
    ReasonCode.EXCEEDS_MAX_QUOTA,
    ReasonCode.NODES_EXCLUDED,
}


@dataclass(frozen=True)
class Fix:
    """A change with which a workload starts now, or the time at which it starts without any.

    Parameters
    ----------
    says
        "2 × 4 GPUs instead of 8 on one node".
    workload
        As it would be.
    start
        When nodes are kept for it; unset: now.
    """

    kind: Kind | Literal["wait"]
    says: str
    workload: Workload
    start: float | None = None


@dataclass(frozen=True)
class Verdict:
    """What would become of a workload.

    Parameters
    ----------
    starts
        ``now``; ``at`` some time, known or not; ``never`` as things are.
    at
        By when it starts, by the time limits of what runs; None if that cannot be said.
    reason
        Why not now.
    """

    starts: Literal["now", "at", "never"]
    at: float | None
    reason: Reason | None


class Advisor:
    """Tries changes on the state that a pass left.

    Parameters
    ----------
    standing
        As the pass left it: room and quotas without what it admitted.
    reserved
        For whom the pass keeps nodes, in its order.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        nodes: Nodes,
        standing: Standing,
        use: Use,
        reserved: Sequence[Workload],
        *,
        now: float,
    ) -> None:
        self._snapshot = snapshot
        self._nodes = nodes
        self._standing = standing
        self._use = use
        self._reserved = reserved
        self._now = now
        self._turns: dict[object, tuple[Workload, ...]] = {}
        self._stages: dict[tuple[str, ...], _Stage] = {}

    @staticmethod
    def of(snapshot: Snapshot, reserved: Sequence[Workload], now: float) -> Advisor:
        """For a snapshot in which what a pass admitted runs already."""
        nodes = Nodes(snapshot.nodes, snapshot.clusters)
        quotas = Quotas(snapshot.groups, snapshot.running)
        standing = Standing(nodes, quotas, snapshot.running, now)
        use = Use(snapshot.groups, snapshot.running, now)
        return Advisor(snapshot, nodes, standing, use, reserved, now=now)

    def fixes(self, workload: Workload, freedom: Freedom, *, most: int = 6) -> list[Fix]:
        """Up to ``most`` changes, each of which lets it start now; at last when it starts unchanged."""
        if workload.waits is not None:
            return []
        found: list[Fix] = []
        until = self._stage(workload).until
        for family in families(workload, self._nodes, freedom, until):
            if len(found) == most:
                break
            if family.spare and any(fix.kind == family.kind for fix in found):
                continue
            change = self._first(family)
            if change is not None:
                found.append(Fix(change.kind, change.says, change.workload))
        if not found and freedom.fewer:
            found += itertools.islice(self._two_changes(workload, freedom), _PAIRS)
        verdict = self.check(workload)
        if verdict.at is not None:
            wait = format_seconds(max(verdict.at - self._now, 1))
            found.append(Fix("wait", f"no change, and waiting for {wait} at most", workload, verdict.at))
        return found

    def _two_changes(self, workload: Workload, freedom: Freedom) -> Iterator[Fix]:
        """Less, somewhere else."""
        for family in elsewhere(workload, self._nodes, freedom):
            other = family.at(0)
            for less in fewer(other.workload):
                change = self._first(less)
                if change is not None:
                    yield Fix(other.kind, f"{other.says}, and {change.says}", change.workload)

    def check(self, workload: Workload) -> Verdict:
        """What would become of it, at its place in line."""
        outcome, reason = self._stage(workload).outcome(workload)
        if isinstance(outcome, Admission):
            return Verdict("now", self._now, None)
        at = outcome.start if isinstance(outcome, Reservation) else None
        never = reason is not None and reason.code in _NEVER
        return Verdict("never" if never else "at", at, reason)

    def starts(self, workload: Workload) -> bool:
        """Whether it starts now."""
        return self._stage(workload).starts(workload)

    def _first(self, family: Family) -> Change | None:
        """The change that gives up the least: if the last one is not enough, none is."""
        few, many = 0, family.length - 1
        if not self.starts(family.at(many).workload):
            return None
        while few < many:
            middle = (few + many) // 2
            if self.starts(family.at(middle).workload):
                many = middle
            else:
                few = middle + 1
        return family.at(many)

    def _stage(self, workload: Workload) -> _Stage:
        turn = (workload.id, workload.group, workload.rank, workload.shape.clusters)
        if turn not in self._turns:
            self._turns[turn] = tuple(self._ahead(workload))
        ahead = self._turns[turn]
        names = tuple(other.id for other in ahead)
        if names not in self._stages:
            self._stages[names] = _Stage(self._snapshot, self._nodes, self._standing, ahead, self._now)
        return self._stages[names]

    def _ahead(self, workload: Workload) -> Iterator[Workload]:
        """Those with reservations whose turn comes before."""
        for place, other in enumerate(self._reserved):
            if other.id == workload.id:
                yield from self._reserved[:place]
                return
        everyone = [*self._reserved, workload]
        columns = Columns(
            Snapshot(
                nodes=(),
                lines=Snapshot.lines_of(everyone),
                groups=self._snapshot.groups,
                clusters=self._snapshot.clusters,
            ),
            self._nodes.clusters,
            owners=False,
        )
        members = Members(columns.domain, columns.group, columns.orders, columns.groups)
        for row in arrange(np.arange(len(everyone)), members, self._use):
            if columns.workloads[row] is workload:
                return
            yield columns.workloads[row]


class _Stage:
    """What is free, with the reservations of those ahead."""

    def __init__(
        self,
        snapshot: Snapshot,
        nodes: Nodes,
        standing: Standing,
        ahead: Sequence[Workload],
        now: float,
    ) -> None:
        self._snapshot = snapshot
        self._nodes = nodes
        self._now = now
        self._prospects = 0
        self._ahead = ahead
        self._standing = standing.without_reservations()
        self._admitter = Admitter(snapshot, nodes, self._standing)
        for other in ahead:
            self._admitter.consider(other, self._prospect(other))

    @property
    def until(self) -> list[float]:
        """Seconds from now to the starts of reservations."""
        return [start - self._now for start in self._standing.starts.values()]

    def starts(self, workload: Workload) -> bool:
        """Whether it starts now."""
        return self._admitter.would_start(workload, self._prospect(workload))

    def outcome(self, workload: Workload) -> tuple[Admission | Reservation | None, Reason | None]:
        """What its turn brings, and why it does not start; the stage stays as it is."""
        fresh = _Stage(self._snapshot, self._nodes, self._standing, self._ahead, self._now)
        prospect = fresh._prospect(workload)
        explainer = Explainer(self._snapshot, self._nodes, fresh._standing, self._now)
        outcome = None
        if workload.waits is None and held_group(self._snapshot, workload.group) is None:
            outcome = fresh._admitter.consider(workload, prospect)
        if isinstance(outcome, Admission):
            return outcome, None
        return outcome, explainer.explain(workload, prospect, outcome)

    def _prospect(self, workload: Workload) -> Prospect:
        self._prospects += 1
        return Prospect(self._nodes, self._prospects, workload.shape)

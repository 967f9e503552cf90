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

from footplate_spec.reasons import Reason, ReasonCode

from .admission import Admitter, held_group
from .changes import Change, Family, Freedom, Kind, elsewhere, families, fewer
from .explain import Explainer
from .making_room import RoomMade, Stoppable
from .model import Admission, Reservation, Snapshot, Workload
from .nodes import Nodes
from .orders import Use
from .prospects import Prospect
from .room_reasons import room_made
from .sequence import in_order
from .standing import Standing
from .ways import options

__all__ = ["Advisor", "Fix", "Verdict", "World"]

_PAIRS = 3  # pairs of changes that are offered where no single one helps
_EACH = 3  # changes of one kind that are offered
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
    flavors
        Of each role: that of the nodes it gets, or the first that it would try.
    """

    starts: Literal["now", "at", "never"]
    at: float | None
    reason: Reason | None
    flavors: tuple[str, ...] = ()


@dataclass(frozen=True)
class World:
    """What a pass knew, and does not change when changes are tried."""

    snapshot: Snapshot
    nodes: Nodes
    stoppable: Stoppable
    use: Use
    now: float


class Advisor:
    """Tries changes on the state that a pass left.

    Parameters
    ----------
    standing
        As the pass left it: room and quotas without what it admitted, and for whom it keeps something.
    """

    def __init__(self, world: World, standing: Standing) -> None:
        self._world = world
        self._nodes = world.nodes
        self._standing = standing
        self._kept = standing.ahead
        self._now = world.now
        self._turns: dict[object, tuple[Workload, ...]] = {}
        self._stages: dict[tuple[str, ...], _Stage] = {}

    def fixes(
        self, workload: Workload, freedom: Freedom, *, most: int = 6, verdict: Verdict | None = None
    ) -> list[Fix]:
        """Up to ``most`` changes, each of which lets it start now; at last when it starts unchanged.

        Parameters
        ----------
        verdict
            What `check` said of it, if it was asked already.
        """
        if workload.waits is not None:
            return []
        found: list[Fix] = []
        until = [*self._stage(workload).until, *self._stage(workload).affordable(workload)]
        for family in families(workload, self._nodes, freedom, until):
            if len(found) == most:
                break
            alike = sum(fix.kind == family.kind for fix in found)
            if alike == _EACH or (family.spare and alike):
                continue
            change = self._first(family)
            if change is not None:
                found.append(Fix(change.kind, change.says, change.workload))
        if not found and freedom.fewer:
            found += itertools.islice(self._two_changes(workload, freedom), _PAIRS)
        verdict = verdict or self.check(workload)
        if verdict.at is not None:
            found.append(Fix("wait", "no change", workload, verdict.at))
        renewal = self._stage(workload).renewal(workload)
        if renewal is not None:
            group, when = renewal
            found.append(Fix("wait", f"no change, once the budget of group {group} renews", workload, when))
        return found

    def _two_changes(self, workload: Workload, freedom: Freedom) -> Iterator[Fix]:
        """Less, somewhere else."""
        for family in elsewhere(workload, self._nodes, freedom):
            other = family.at(0)
            helped = ""
            for less in fewer(other.workload):
                change = self._first(less) if not (less.spare and helped == less.kind) else None
                if change is not None:
                    helped = change.kind
                    yield Fix(other.kind, f"{other.says}, and {change.says}", change.workload)

    def check(self, workload: Workload) -> Verdict:
        """What would become of it, at its place in line."""
        outcome, reason = self._stage(workload).outcome(workload)
        flavors = self._flavors(workload, outcome)
        if isinstance(outcome, Admission):
            return Verdict("now", self._now, None, flavors)
        at = outcome.start if outcome is not None else None
        never = reason is not None and reason.code in _NEVER
        return Verdict("never" if never else "at", at, reason, flavors)

    def _flavors(self, workload: Workload, outcome: Admission | Reservation | None) -> tuple[str, ...]:
        roles = workload.shape.roles
        if outcome is not None:
            by_role = {placement.role: placement.flavor for placement in outcome.placements}
            return tuple(by_role[role.name] for role in roles)
        first = next(options(self._nodes, workload.shape), None)
        return first.flavors if first is not None else tuple("".join(role.flavors[:1]) for role in roles)

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
            self._stages[names] = _Stage(self._world, self._standing, ahead)
        return self._stages[names]

    def _ahead(self, workload: Workload) -> Iterator[Workload]:
        """Those for whom nodes are kept and whose turn comes before."""
        for place, other in enumerate(self._kept):
            if other.id == workload.id:
                yield from self._kept[:place]
                return
        owed = [other for other in self._kept if other.owed]
        yield from owed
        everyone = [*(other for other in self._kept if not other.owed), workload]
        for other in in_order(everyone, self._world.snapshot, self._nodes.clusters, self._world.use):
            if other is workload:
                return
            yield other


class _Stage:
    """What is free, with what is kept for those ahead."""

    def __init__(self, world: World, standing: Standing, ahead: Sequence[Workload]) -> None:
        self._world = world
        self._prospects = 0
        self._ahead = ahead
        self._double: _Stage | None = None
        self._standing = standing.without_reservations()
        self._admitter = Admitter(world.snapshot, world.nodes, self._standing, world.stoppable, world.now)
        for other in ahead:
            self._admitter.consider(other, self._prospect(other))

    @property
    def until(self) -> list[float]:
        """Seconds from now to the starts of reservations."""
        return [start - self._world.now for start in self._standing.starts.values()]

    def starts(self, workload: Workload) -> bool:
        """Whether it starts now."""
        return self._admitter.would_start(workload, self._prospect(workload))

    def affordable(self, workload: Workload) -> list[float]:
        """Seconds for which budgets let it run, where that is less than it asks for."""
        ways, budgets = self._prospect(workload).ways, self._standing.budgets_open
        found = {budgets.affordable(workload.group, way.demand) for way in ways} if budgets else set()
        return sorted(seconds for seconds in found if seconds < workload.time_limit)

    def renewal(self, workload: Workload) -> tuple[str, float] | None:
        """Whose budget must renew, and when, if budgets are all that it lacks and will be enough then."""
        prospect, budgets = self._prospect(workload), self._standing.budgets_open
        if not budgets or not self._admitter.would_start(workload, prospect, renewed=True):
            return None
        for way in prospect.ways:
            short = budgets.shortages(workload.group, way.demand, workload.time_limit)
            if short and all(shortage.ends for shortage in short):
                last = max(short, key=lambda shortage: shortage.renews)
                return last.group, last.renews
        return None

    def outcome(self, workload: Workload) -> tuple[Admission | Reservation | None, Reason | None]:
        """What its turn brings, and why it does not start; the stage stays as it is."""
        if self._double is None:
            self._double = _Stage(self._world, self._standing, self._ahead)
        double, self._double = self._double, None
        kept = len(double._standing.ahead)
        outcome, reason = double.consider(workload)
        if outcome is None and len(double._standing.ahead) == kept:
            self._double = double  # nothing was taken from it, or kept in it
        return (None if isinstance(outcome, RoomMade) else outcome), reason

    def consider(self, workload: Workload) -> tuple[Admission | RoomMade | Reservation | None, Reason | None]:
        """Let it have its turn here, with all that follows."""
        world, prospect = self._world, self._prospect(workload)
        explainer = Explainer(world.snapshot, world.nodes, self._standing, world.now)
        outcome = None
        if workload.waits is None and held_group(world.snapshot, workload.group) is None:
            outcome = self._admitter.consider(workload, prospect)
        if isinstance(outcome, Admission):
            return outcome, None
        if isinstance(outcome, RoomMade):
            return outcome, room_made(outcome.stopping, len(outcome.preemptions))
        return outcome, explainer.explain(workload, prospect, outcome)

    def _prospect(self, workload: Workload) -> Prospect:
        self._prospects += 1
        return Prospect(self._world.nodes, self._prospects, workload.shape)

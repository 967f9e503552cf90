"""Why a workload waits, by counterfactuals: think one kind of obstacle away after the other, and look when
it would start.

The kinds are thought away from the least fundamental to the most (the order of ``ReasonCode``, backwards),
each together with all before it. The first kind with which the workload starts, in any way that it permits,
is the dominant cause: nothing more fundamental stands in its way there, and without this one removed it does
not start. Whether it would start is tried: every cluster, flavor and placement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from footplate_hub.queue.model import Placement, Snapshot, Workload
from footplate_spec.reasons import ReasonCode as Code

from .room import Way, enough_in_all, free_room, gangs, matches, permitted, ways
from .tree import Use, above, broken, person_broken

__all__ = [
    "ORDER",
    "Moment",
    "by_rank",
    "dominant_cause",
    "held_by",
    "starts",
    "uses_of",
    "waiting_of",
    "wherever",
]

ORDER = [
    "Misconfigured",
    "NoMatchingFlavor",
    "ExceedsMaxQuota",
    "BorrowingLimitReached",
    "Suspended",
    "NodesExcluded",
    "Held",
    "WaitingForJobs",
    "LimitReached",
    "DataNotReady",
    "VolumePending",
    "ImagePull",
    "NodeLost",
    "DiskLow",
    "WaitingForQuota",
    "WaitingForPreemptedWorkloads",
    "WaitingForCapacity",
    "TopologyPlacementFailed",
    "ReservedForAhead",
    "PendingEvaluation",
]

ROOM = frozenset({"NodeLost", "WaitingForCapacity", "TopologyPlacementFailed"})
CONTAINED = {  # whoever lifts the one has lifted the others
    "NoMatchingFlavor": ROOM | {"NodesExcluded"},
    "NodesExcluded": ROOM,
    "NodeLost": ROOM,
    "WaitingForCapacity": {"TopologyPlacementFailed"},
    "ExceedsMaxQuota": {"BorrowingLimitReached", "WaitingForQuota"},
}


@dataclass(frozen=True)
class Moment:
    """What ran when the pass came to a workload: attempts, and what it had admitted by then."""

    uses: tuple[Use, ...]

    @property
    def placements(self) -> list[Placement]:
        """Where they are."""
        return [placement for use in self.uses for placement in use.placements]


def dominant_cause(snapshot: Snapshot, workload: Workload, moment: Moment) -> str:
    """The code of the most fundamental obstacle on the way that is closest to starting.

    ``ReservedForAhead`` if nothing but those ahead keeps it.
    """
    for rank in range(ORDER.index("ReservedForAhead"), 0, -1):
        if starts(snapshot, workload, moment, frozenset(ORDER[rank:])):
            return ORDER[rank]
    return "Misconfigured" if _is(workload, "Misconfigured") else "NoMatchingFlavor"


def suffices(snapshot: Snapshot, workload: Workload, moment: Moment, codes: frozenset[str]) -> bool:
    """Whether it could start once all these obstacles are lifted.

    Where no flavor matches, one that does is thought of: nothing is known of its quotas.
    """
    removed = codes.union(*(CONTAINED.get(code, ()) for code in codes))
    possible = [way for way in ways(snapshot, workload.shape) if matches(snapshot, workload.shape, way)]
    if possible:
        return any(starts(snapshot, workload, moment, removed, only=way) for way in possible)
    anywhere = Use(
        workload.group, workload.owner, wherever(workload, Way("", ("",) * len(workload.shape.roles)))
    )
    return (
        "NoMatchingFlavor" in codes
        and (workload.waits is None or workload.waits.code.value in removed)
        and held_by(snapshot, workload.group, "") <= removed
        and ("LimitReached" in removed or not person_broken(snapshot, moment.uses, anywhere))
    )


def starts(
    snapshot: Snapshot,
    workload: Workload,
    moment: Moment,
    removed: frozenset[str] = frozenset(),
    only: Way | None = None,
) -> bool:
    """Whether it could start now in any way, or ``only`` in one, were these obstacles not there."""
    if workload.waits is not None and workload.waits.code.value not in removed:
        return False
    for way in [only] if only is not None else ways(snapshot, workload.shape):
        if held_by(snapshot, workload.group, way.cluster) - removed:
            continue
        if _blocked_by_limits(snapshot, workload, way, moment, removed):
            continue
        if _finds_room(snapshot, workload, way, moment, removed):
            return True
    return False


def _is(workload: Workload, code: str) -> bool:
    return workload.waits is not None and workload.waits.code.value == code


def held_by(snapshot: Snapshot, group: str, cluster: str) -> set[str]:
    """The codes with which the cluster, the group or one above it is held."""
    holds = [snapshot.groups[name].held for name in above(group) if name in snapshot.groups]
    if cluster in snapshot.clusters:
        holds.append(snapshot.clusters[cluster].held)
    return {Code(held.code).value for held in holds if held is not None}


def _blocked_by_limits(
    snapshot: Snapshot, workload: Workload, way: Way, moment: Moment, removed: frozenset[str]
) -> bool:
    start = Use(workload.group, workload.owner, wherever(workload, way))
    if "ExceedsMaxQuota" not in removed and broken(snapshot, [], start):
        return True
    kinds = {statement.kind for statement in broken(snapshot, moment.uses, start)}
    if "BorrowingLimitReached" not in removed and "borrowing" in kinds:
        return True
    if "LimitReached" not in removed and person_broken(snapshot, moment.uses, start):
        return True
    return "WaitingForQuota" not in removed and "pool" in kinds


def wherever(workload: Workload, way: Way) -> tuple[Placement, ...]:
    """What it would use at the least, on no node in particular."""
    return tuple(
        Placement(role.name, index, way.cluster, "", flavor, role.need)
        for role, flavor in zip(workload.shape.roles, way.flavors, strict=True)
        for index in range(role.replicas)
    )


def _finds_room(
    snapshot: Snapshot, workload: Workload, way: Way, moment: Moment, removed: frozenset[str]
) -> bool:
    shape = workload.shape
    nodes = permitted(
        snapshot,
        shape,
        way.cluster,
        exclusions="NodesExcluded" not in removed,
        unusable="NodeLost" not in removed,
    )
    empty = free_room(snapshot, [])
    if next(gangs(shape, way, nodes, empty), None) is None:
        return "NoMatchingFlavor" in removed
    if "WaitingForCapacity" in removed:
        return True
    free = free_room(snapshot, moment.placements)
    if "TopologyPlacementFailed" in removed:
        return enough_in_all(shape, way, nodes, free)
    return next(gangs(shape, way, nodes, free), None) is not None


def uses_of(snapshot: Snapshot, admitted: Sequence[Use] = ()) -> tuple[Use, ...]:
    """All that runs, and all that was admitted so far."""
    return (*(Use(r.group, r.owner, r.placements) for r in snapshot.running), *admitted)


def waiting_of(snapshot: Snapshot) -> dict[str, Workload]:
    """All who wait, by id."""
    return {workload.id: workload for line in snapshot.lines for workload in line.workloads}


def by_rank(snapshot: Snapshot) -> bool:
    """Whether everybody goes first come first served."""
    policies = [model.policy for model in (*snapshot.groups.values(), *snapshot.clusters.values())]
    return all(policy is None or policy.order == "fifo" for policy in policies)

"""The world as one pass sees it: frozen plain data, no ids of processes, no clock, no I/O.

Amounts are whole numbers (CPU in thousandths of a core, memory in bytes, whole GPUs), so that sums are
exact and no rounding ever lets one workload too many in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from footplate_spec.reasons import Reason

__all__ = [
    "Admission",
    "Amount",
    "Blocked",
    "Limit",
    "Line",
    "NodeModel",
    "Placement",
    "Plan",
    "Preemption",
    "Reservation",
    "RoleShape",
    "Running",
    "Shape",
    "Snapshot",
    "Workload",
]


@dataclass(frozen=True, slots=True)
class Amount:
    """What something needs, has or uses."""

    cpu: int = 0
    memory: int = 0
    gpu: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.cpu + other.cpu, self.memory + other.memory, self.gpu + other.gpu)

    def __mul__(self, count: int) -> Amount:
        return Amount(self.cpu * count, self.memory * count, self.gpu * count)


@dataclass(frozen=True, slots=True)
class Limit:
    """A quota of one group (and all below it) on one cluster and flavor; None is no limit."""

    cpu: int | None = None
    memory: int | None = None
    gpu: int | None = None


@dataclass(frozen=True)
class NodeModel:
    """A machine. ``unusable`` says why nothing may start there now (blocked, not ready)."""

    cluster: str
    name: str
    flavor: str
    capacity: Amount
    address: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    unusable: str | None = None


@dataclass(frozen=True, slots=True)
class RoleShape:
    """Identical replicas. ``flavors`` in the user's order; none means any one flavor."""

    name: str
    replicas: int
    need: Amount
    flavors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shape:
    """Everything about a workload that decides where it fits; equal shapes share one fit."""

    roles: tuple[RoleShape, ...]
    clusters: tuple[str, ...] = ()
    exclude_nodes: frozenset[str] = frozenset()
    exclude_addresses: frozenset[str] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()

    @cached_property
    def key(self) -> int:
        """A hash computed once: lines are looked up by it thousands of times a pass."""
        return hash((self.roles, self.clusters, self.exclude_nodes, self.exclude_addresses, self.labels))

    def __hash__(self) -> int:
        return self.key

    @property
    def total(self) -> Amount:
        """What the whole gang needs."""
        return sum((role.need * role.replicas for role in self.roles), Amount())


@dataclass(frozen=True, slots=True)
class Workload:
    """What waits. ``rank`` orders: smaller goes first."""

    id: str
    group: str
    priority: int
    place: float
    shape: Shape
    time_limit: int = 0

    @property
    def rank(self) -> tuple[int, float, str]:
        """Priority, then first come first served; the id makes it total."""
        return (-self.priority, self.place, self.id)


@dataclass(frozen=True)
class Line:
    """The workloads of one group with one shape, in order: when the first cannot start, none can."""

    group: str
    shape: Shape
    workloads: tuple[Workload, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """One replica on one node."""

    role: str
    index: int
    cluster: str
    node: str
    flavor: str
    need: Amount


@dataclass(frozen=True)
class Running:
    """An attempt that holds its nodes. ``ends``: unix time by which its time limit ends it, if known."""

    id: str
    group: str
    placements: tuple[Placement, ...]
    priority: int = 0
    ends: float | None = None


@dataclass(frozen=True)
class Snapshot:
    """All that one pass may look at.

    Parameters
    ----------
    limits
        By group, then by cluster and flavor. A limit holds for the group and all groups below it.
    closed
        Clusters that admit nothing for now, with the sentence that says why (a full disk).
    """

    nodes: tuple[NodeModel, ...]
    lines: tuple[Line, ...]
    running: tuple[Running, ...] = ()
    limits: Mapping[str, Mapping[tuple[str, str], Limit]] = field(default_factory=dict)
    closed: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def lines_of(workloads: Iterable[Workload]) -> tuple[Line, ...]:
        """Sort workloads into lines."""
        grouped: dict[tuple[str, Shape], list[Workload]] = {}
        for workload in workloads:
            grouped.setdefault((workload.group, workload.shape), []).append(workload)
        return tuple(
            Line(group, shape, tuple(sorted(members, key=lambda w: w.rank)))
            for (group, shape), members in grouped.items()
        )


@dataclass(frozen=True)
class Admission:
    """A workload that starts now, all of it."""

    workload: Workload
    cluster: str
    placements: tuple[Placement, ...]


@dataclass(frozen=True)
class Preemption:
    """An attempt that is to make room."""

    running: str
    for_workload: str


@dataclass(frozen=True)
class Reservation:
    """Nodes that are kept for a workload from a time on."""

    workload: str
    start: float
    placements: tuple[Placement, ...]


@dataclass(frozen=True)
class Blocked:
    """Workloads of one line that stay, in order, and the one reason that they share."""

    workloads: tuple[Workload, ...]
    reason: Reason


@dataclass(frozen=True)
class Plan:
    """What one pass decided."""

    admit: tuple[Admission, ...] = ()
    preempt: tuple[Preemption, ...] = ()
    reserve: tuple[Reservation, ...] = ()
    blocked: tuple[Blocked, ...] = ()

    @cached_property
    def reasons(self) -> dict[str, Reason]:
        """The reason of every workload that stays queued, by its id."""
        return {w.id: blocked.reason for blocked in self.blocked for w in blocked.workloads}

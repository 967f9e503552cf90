"""The world as one pass sees it: frozen plain data, no ids of processes, no clock, no I/O.

Amounts are whole numbers (CPU in thousandths of a core, memory in bytes, whole GPUs), so that sums are
exact and no rounding ever lets one workload too many in. Shares of a GPU are flavors of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from footplate_spec.reasons import Reason, ReasonCode

__all__ = [
    "Admission",
    "Amount",
    "Blocked",
    "Budget",
    "ClusterModel",
    "GroupModel",
    "Limit",
    "Line",
    "NodeModel",
    "PersonLimit",
    "Placement",
    "Plan",
    "Policy",
    "Preemption",
    "Price",
    "Quota",
    "Reservation",
    "RoleShape",
    "Running",
    "Shape",
    "Snapshot",
    "Spent",
    "Workload",
]

Place = tuple[str, str]  # cluster, flavor


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
    """An amount of each resource; None is no limit."""

    cpu: int | None = None
    memory: int | None = None
    gpu: int | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """What a group, with all groups below it, may use of one flavor on one cluster.

    Parameters
    ----------
    nominal
        What is the group's own whenever it wants it. A resource without a nominal amount is not limited.
    borrowing
        How much more it may use of what its sisters do not use; unset: all that they lend.
    lending
        How much of its unused nominal its sisters may use; unset: all of it.
    """

    nominal: Limit = field(default_factory=Limit)
    borrowing: Limit = field(default_factory=Limit)
    lending: Limit = field(default_factory=Limit)


@dataclass(frozen=True, slots=True)
class PersonLimit:
    """What one person may have at one time within a group and all groups below it."""

    running: int | None = None
    gpus: int | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """What was used over time: GPU-seconds, and money."""

    gpu_seconds: float = 0.0
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Budget:
    """What a group, with all groups below it, may use within the period that is on.

    Parameters
    ----------
    gpu_seconds, cost
        None is no limit.
    begins, renews
        Unix seconds of the period.
    ended
        What attempts that have ended used within it.
    period, currency
        Their names, for people.
    """

    gpu_seconds: float | None
    cost: float | None
    begins: float
    renews: float
    ended: Spent = Spent()
    period: str = "month"
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Price:
    """What an hour of one GPU and of one core costs on nodes of a flavor."""

    gpu_hour: float = 0.0
    core_hour: float = 0.0


@dataclass(frozen=True, slots=True)
class Policy:
    """How those who wait are ordered, and whether any may pass one that cannot start.

    Parameters
    ----------
    order
        The name of an order in ``queue/orders``.
    backfill
        False: nobody behind the first that waits for room starts before it, where it waits.
    """

    order: str = "fifo"
    backfill: bool = True


@dataclass(frozen=True)
class ClusterModel:
    """A cluster. ``held`` is why nothing starts there for now (maintenance, a full disk), if so."""

    name: str
    region: str = ""
    policy: Policy | None = None
    held: Reason | None = None


@dataclass(frozen=True)
class GroupModel:
    """A group of the tree: its parent's name is its own without the last part.

    Parameters
    ----------
    policy
        Unset: the parent's, at last the cluster's, at last first come first served.
    used
        Decayed GPU-seconds up to the snapshot, of this group alone.
    held
        Why nothing of this group and those below it starts for now, if so.
    """

    name: str
    quotas: Mapping[Place, Quota] = field(default_factory=dict)
    person: PersonLimit | None = None
    policy: Policy | None = None
    used: float = 0.0
    held: Reason | None = None
    budget: Budget | None = None


@dataclass(frozen=True)
class NodeModel:
    """A machine.

    Parameters
    ----------
    levels
        Where it stands, from the outside in: ``("hall-a", "rack-7")``.
    taints
        Key, value and effect of each.
    extended
        Other things that it has, by name.
    unusable
        Why nothing may start there now (blocked, not ready), if so.
    """

    cluster: str
    name: str
    flavor: str
    capacity: Amount
    address: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    levels: tuple[str, ...] = ()
    taints: tuple[tuple[str, str, str], ...] = ()
    extended: Mapping[str, int] = field(default_factory=dict)
    unusable: str | None = None


@dataclass(frozen=True, slots=True)
class RoleShape:
    """Identical replicas.

    Parameters
    ----------
    replicas
        The fewest that make a gang.
    most
        The most that it can use, if it is elastic; what it gets is decided at admission.
    flavors
        In the user's order; none means any one flavor.
    """

    name: str
    replicas: int
    need: Amount
    flavors: tuple[str, ...] = ()
    most: int | None = None


@dataclass(frozen=True)
class Shape:
    """Everything about a workload that decides where it fits; equal shapes share one fit.

    Parameters
    ----------
    topology
        ``node``: all replicas on one node; ``rack``: under one innermost level; ``any``: packed as well
        as it goes.
    tolerations
        Key, value and effect of taints that do not keep it away; None is any.
    extended
        Other things that each replica needs. A node must have them; whether they are free is not counted.
    """

    roles: tuple[RoleShape, ...]
    clusters: tuple[str, ...] = ()
    exclude_nodes: frozenset[str] = frozenset()
    exclude_addresses: frozenset[str] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()
    topology: Literal["node", "rack", "any"] = "any"
    region: str = ""
    tolerations: tuple[tuple[str, str | None, str | None], ...] = ()
    extended: tuple[tuple[str, int], ...] = ()

    @cached_property
    def key(self) -> int:
        """A hash computed once: lines are looked up by it thousands of times a pass."""
        return hash(
            (
                self.roles,
                self.clusters,
                self.exclude_nodes,
                self.exclude_addresses,
                self.labels,
                self.topology,
                self.region,
                self.tolerations,
                self.extended,
            )
        )

    def __hash__(self) -> int:
        return self.key

    @property
    def total(self) -> Amount:
        """What the whole gang needs at the least."""
        return sum((role.need * role.replicas for role in self.roles), Amount())


@dataclass(frozen=True, slots=True)
class Workload:
    """What waits.

    Parameters
    ----------
    place
        When it came: smaller goes first among equals. It keeps its place when it is preempted.
    time_limit
        Seconds that it may run; 0 never ends (a service).
    owner
        Whose it is, for what one person may have.
    waits
        Why it may not start whatever is free, if so: suspended, waiting for other jobs, an array's limit.
    owed
        Attempts were stopped to make room for it: until it starts it goes before all others, so that nobody
        else takes that room.
    """

    id: str
    group: str
    priority: int
    place: float
    shape: Shape
    time_limit: int = 0
    owner: str = ""
    waits: Reason | None = None
    owed: bool = False

    @property
    def rank(self) -> tuple[int, int, float, str]:
        """Whoever is owed room, priority, then first come first served; the id makes it total."""
        return (0 if self.owed else 1, -self.priority, self.place, self.id)


@dataclass(frozen=True)
class Line:
    """The workloads of one group with one shape, in order of rank."""

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
    """An attempt that holds its nodes.

    Parameters
    ----------
    ends
        Unix time by which its time limit ends it, if it is known: always, except before it began to run
        (then ``time_limit`` from now) and for services, which never end.
    started
        When it was admitted.
    saved
        When it last saved what it did; unset: never. What is lost with it is its GPU-time since.
    stopping
        It has been told to make room, or to end: it is nobody's victim again.
    preemptible
        False: it is never stopped for others, whatever their priority.
    cost
        What an hour of it costs, at the prices that held when it was admitted.
    """

    id: str
    group: str
    placements: tuple[Placement, ...]
    priority: int = 0
    ends: float | None = None
    time_limit: int = 0
    started: float = 0.0
    saved: float | None = None
    owner: str = ""
    stopping: bool = False
    preemptible: bool = True
    cost: float = 0.0

    @cached_property
    def gpus(self) -> int:
        """GPUs that it holds."""
        return sum(placement.need.gpu for placement in self.placements)


@dataclass(frozen=True)
class Snapshot:
    """All that one pass may look at.

    Parameters
    ----------
    clusters, groups
        By name. A cluster or group that is not named here has no policy, quota or limit of its own.
    prices
        By flavor; what has no price costs nothing.
    """

    nodes: tuple[NodeModel, ...]
    lines: tuple[Line, ...]
    running: tuple[Running, ...] = ()
    groups: Mapping[str, GroupModel] = field(default_factory=dict)
    clusters: Mapping[str, ClusterModel] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)

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
    """A workload that starts now, all of it. ``placements`` says how many replicas an elastic role got."""

    workload: Workload
    cluster: str
    placements: tuple[Placement, ...]

    def running(self, now: float) -> Running:
        """What runs from ``now`` on because of it."""
        workload = self.workload
        return Running(
            id=workload.id,
            group=workload.group,
            placements=self.placements,
            priority=workload.priority,
            ends=now + workload.time_limit if workload.time_limit else None,
            time_limit=workload.time_limit,
            started=now,
            owner=workload.owner,
        )


@dataclass(frozen=True)
class Preemption:
    """An attempt that is to make room, so that ``workload`` can start once it and its fellows are gone."""

    running: str
    workload: str
    why: Literal["priority", "reclaim"]


@dataclass(frozen=True)
class Reservation:
    """Nodes that are kept for a workload from a time on; ``start`` is bounded by time limits alone."""

    workload: str
    start: float
    cluster: str
    placements: tuple[Placement, ...]


@dataclass(frozen=True)
class Blocked:
    """Workloads of one line that stay, in order, and the one reason that they share.

    Parameters
    ----------
    tell
        Puts the reason into words.
    """

    workloads: tuple[Workload, ...]
    code: ReasonCode
    tell: Callable[[], Reason] = field(compare=False)

    @classmethod
    def because(cls, workloads: tuple[Workload, ...], reason: Reason) -> Blocked:
        """With a reason that is known."""
        return cls(workloads, reason.code, lambda: reason)

    @cached_property
    def reason(self) -> Reason:
        """The reason with its sentence and numbers."""
        return self.tell()


@dataclass(frozen=True)
class Plan:
    """What one pass decided: every waiting workload is in ``admit`` or, once, in ``blocked``.

    What `schedule` gives as ``blocked`` has every code and position as numbers too (`verdicts`).
    """

    admit: tuple[Admission, ...] = ()
    preempt: tuple[Preemption, ...] = ()
    reserve: tuple[Reservation, ...] = ()
    blocked: Sequence[Blocked] = ()

    @cached_property
    def reasons(self) -> dict[str, Reason]:
        """The reason of every workload that stays queued, by its id."""
        return {w.id: blocked.reason for blocked in self.blocked for w in blocked.workloads}

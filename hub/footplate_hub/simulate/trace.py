"""A trace: what was submitted when and for how long, and the nodes that it ran on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..queue.model import NodeModel, RoleShape, Shape

__all__ = ["CLUSTER", "Outage", "Shapes", "Trace", "TraceError", "TraceJob", "by_submission", "one_role"]

CLUSTER = "trace"


class TraceError(Exception):
    """A trace that cannot be replayed: one sentence, with the line where there is one."""

    def __init__(self, sentence: str, file: Path | None = None, line: int | None = None) -> None:
        where = "" if file is None else f"{file.name}: " if line is None else f"{file.name}, line {line}: "
        super().__init__(where + sentence)


@dataclass(frozen=True, slots=True)
class TraceJob:
    """A job that was submitted.

    Parameters
    ----------
    submit
        Seconds from the start of the trace.
    duration
        Seconds that its work takes, whatever its limit.
    time_limit
        Seconds after which it is ended; 0 never.
    name
        Of the kind of job, for learned durations.
    checkpoint
        Seconds between its checkpoints; 0 saves nothing, so that a preemption loses all that it did.
    line
        Where it stands in its file.
    """

    id: str
    submit: float
    duration: float
    shape: Shape
    time_limit: int = 0
    group: str = "default"
    owner: str = ""
    name: str = ""
    priority: int = 0
    checkpoint: float = 0.0
    line: int = 0

    @property
    def gpus(self) -> int:
        """Of the whole gang."""
        return sum(role.need.gpu * role.replicas for role in self.shape.roles)


@dataclass(frozen=True, slots=True)
class Outage:
    """A node is away from ``start`` to ``end``; what ran on it is lost."""

    cluster: str
    node: str
    start: float
    end: float


@dataclass(frozen=True)
class Trace:
    """Jobs in order of submission.

    Parameters
    ----------
    notes
        What a reader left out or changed, for people to know.
    """

    jobs: tuple[TraceJob, ...]
    nodes: tuple[NodeModel, ...] = ()
    outages: tuple[Outage, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def gpus(self) -> int:
        """Of all nodes."""
        return sum(node.capacity.gpu for node in self.nodes)


class Shapes:
    """One object a shape: the queue recognises equal shapes by identity first."""

    def __init__(self) -> None:
        self._seen: dict[Shape, Shape] = {}

    def one(self, shape: Shape) -> Shape:
        """The first that was equal."""
        return self._seen.setdefault(shape, shape)


def one_role(role: RoleShape, *, topology: str = "any", clusters: Sequence[str] = ()) -> Shape:
    """A gang of identical replicas."""
    return Shape(roles=(role,), clusters=tuple(clusters), topology=topology)  # type: ignore[arg-type]


def by_submission(jobs: Iterable[TraceJob]) -> tuple[TraceJob, ...]:
    """First come first."""
    return tuple(sorted(jobs, key=lambda job: (job.submit, job.id)))

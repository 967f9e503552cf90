"""Groups and quotas: who may use how much of what."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, StringConstraints, model_validator

from .base import Answer, Submitted
from .budget import Budget
from .names import GroupPath, Name
from .units import Bytes, Cpu, Seconds, quantity

__all__ = ["Amounts", "Group", "PersonLimits", "QueuePolicy", "Quota", "QuotaUse", "Usage"]

Gpus = Annotated[int, Field(ge=0, strict=True)]
Count = Annotated[int, Field(ge=0, strict=True)]


class Amounts(Submitted):
    """An amount of each resource; what is unset is not limited."""

    what: ClassVar[str] = "an amount"
    cpu: Cpu | None = None
    memory: Bytes | None = None
    gpu: Gpus | None = None


class Quota(Submitted):
    """What a group, with all groups below it, may use at one time, of one flavor on one cluster.

    Parameters
    ----------
    cpu, memory, gpu
        The nominal amounts: the group's own whenever it wants them. What is unset is not limited.
    borrowing_limit
        How much more it may use of what other groups leave unused; unset: all that they lend. 0 makes the
        quota hard.
    lending_limit
        How much of what it leaves unused others may use; unset: all of it.
    """

    what: ClassVar[str] = "a quota"
    cluster: Name = "local"
    flavor: Name
    cpu: Cpu | None = None
    memory: Bytes | None = None
    gpu: Gpus | None = None
    borrowing_limit: Amounts = Field(default_factory=Amounts)
    lending_limit: Amounts = Field(default_factory=Amounts)

    @model_validator(mode="after")
    def _limits_are_of_something(self) -> Self:
        for kind, limit in (("borrowing_limit", self.borrowing_limit), ("lending_limit", self.lending_limit)):
            for resource in ("cpu", "memory", "gpu"):
                if getattr(limit, resource) is not None and getattr(self, resource) is None:
                    raise ValueError(
                        f"has a {kind} for {resource} but no {resource} of its own; say how much it has"
                    )
        for resource in ("cpu", "memory", "gpu"):
            own, lent = getattr(self, resource), getattr(self.lending_limit, resource)
            if lent is not None and lent > own:
                raise ValueError(f"lends {quantity(lent, resource)} but has only {quantity(own, resource)}")
        return self


class PersonLimits(Submitted):
    """What one person may have at one time within a group and all groups below it.

    Parameters
    ----------
    running, gpus
        Jobs that run, and GPUs that they use; what is beyond waits.
    queued
        Jobs that wait or run; what is beyond is refused.
    """

    what: ClassVar[str] = "per_person"
    running: Count | None = None
    gpus: Gpus | None = None
    queued: Count | None = None


class QueuePolicy(Submitted):
    """How those who wait are ordered, and whether any may pass one that cannot start.

    Parameters
    ----------
    order
        ``fifo``: priority, then first come first served. ``fair_share``: first the groups that used the least
        of GPUs lately, for what is their own.
    backfill
        Whether jobs may start before one ahead of them that waits for room, if they cannot delay it.
    """

    what: ClassVar[str] = "policy"
    order: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]*$", max_length=40)] = "fifo"
    backfill: bool = True


class Group(Submitted):
    """A cost centre.

    Parameters
    ----------
    quotas
        One for each cluster and flavor that is limited; a flavor that no quota names is open to all.
    policy
        How its jobs and those of groups below it are ordered; unset: as the group above it, or the cluster.
    budget
        What it may use over time, with all groups below it; unset: what quotas allow.
    time_limit, max_time_limit
        What a job without a limit gets, and the most that one may ask for.
    """

    what: ClassVar[str] = "a group"
    name: GroupPath
    quotas: list[Quota] = Field(default_factory=list)
    per_person: PersonLimits = Field(default_factory=PersonLimits)
    policy: QueuePolicy | None = None
    budget: Budget | None = None
    time_limit: Seconds = 24 * 3600
    max_time_limit: Seconds = 7 * 24 * 3600


class Usage(Answer):
    """An amount of each resource: CPU in thousandths of a core, memory in bytes, whole GPUs."""

    cpu: int = 0
    memory: int = 0
    gpu: int = 0


class QuotaUse(Answer):
    """What a group may use, uses and waits for, of one flavor on one cluster.

    Parameters
    ----------
    limit
        Its own amounts.
    most
        The most that it may use, with what it may borrow.
    borrowed
        What it uses beyond its own.
    held
        Why nothing of it starts there for now, if so.
    """

    group: str
    cluster: str
    flavor: str
    limit: dict[str, int | None] = Field(default_factory=dict)
    most: dict[str, int | None] = Field(default_factory=dict)
    used: Usage = Field(default_factory=Usage)
    borrowed: Usage = Field(default_factory=Usage)
    queued: Usage = Field(default_factory=Usage)
    held: str | None = None

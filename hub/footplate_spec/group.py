"""Groups and quotas: who may use how much of what."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from .base import Answer, Submitted
from .names import GroupPath, Name
from .units import Bytes, Cpu, Seconds

__all__ = ["Group", "Quota", "QuotaUse", "Usage"]


class Quota(Submitted):
    """At most this much at one time, of one flavor on one cluster. What is unset is not limited."""

    what: ClassVar[str] = "a quota"
    cluster: Name = "local"
    flavor: Name
    cpu: Cpu | None = None
    memory: Bytes | None = None
    gpu: Annotated[int, Field(ge=0, strict=True)] | None = None


class Group(Submitted):
    """A cost centre.

    Parameters
    ----------
    quotas
        One for each cluster and flavor that is limited; a flavor that no quota names is open to all.
    time_limit, max_time_limit
        What a job without a limit gets, and the most that one may ask for.
    """

    what: ClassVar[str] = "a group"
    name: GroupPath
    quotas: list[Quota] = Field(default_factory=list)
    time_limit: Seconds = 24 * 3600
    max_time_limit: Seconds = 7 * 24 * 3600


class Usage(Answer):
    """An amount of each resource: CPU in thousandths of a core, memory in bytes, whole GPUs."""

    cpu: int = 0
    memory: int = 0
    gpu: int = 0


class QuotaUse(Answer):
    """What a group may use, uses and waits for, of one flavor on one cluster."""

    group: str
    cluster: str
    flavor: str
    limit: dict[str, int | None] = Field(default_factory=dict)
    used: Usage = Field(default_factory=Usage)
    queued: Usage = Field(default_factory=Usage)

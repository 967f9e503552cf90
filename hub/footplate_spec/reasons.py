"""Why a workload waits, and why one failed: codes that programs read, sentences that people read.

``ReasonCode`` is ordered by dominance: of several causes, the first in this order is the one shown
first. Where Kueue has a name, it is Kueue's.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from .base import Answer

__all__ = ["Cause", "CauseCode", "Reason", "ReasonCode", "dominant"]


class ReasonCode(StrEnum):
    """Why a workload is not running, most fundamental first."""

    MISCONFIGURED = "Misconfigured"
    NO_MATCHING_FLAVOR = "NoMatchingFlavor"
    EXCEEDS_MAX_QUOTA = "ExceedsMaxQuota"
    BORROWING_LIMIT_REACHED = "BorrowingLimitReached"
    SUSPENDED = "Suspended"
    NODES_EXCLUDED = "NodesExcluded"
    HELD = "Held"
    WAITING_FOR_JOBS = "WaitingForJobs"
    LIMIT_REACHED = "LimitReached"
    NODE_LOST = "NodeLost"
    DISK_LOW = "DiskLow"
    WAITING_FOR_QUOTA = "WaitingForQuota"
    WAITING_FOR_PREEMPTED_WORKLOADS = "WaitingForPreemptedWorkloads"
    WAITING_FOR_CAPACITY = "WaitingForCapacity"
    TOPOLOGY_PLACEMENT_FAILED = "TopologyPlacementFailed"
    RESERVED_FOR_AHEAD = "ReservedForAhead"
    PENDING_EVALUATION = "PendingEvaluation"


_DOMINANCE = {code: place for place, code in enumerate(ReasonCode)}


class Reason(Answer):
    """One cause of waiting.

    Parameters
    ----------
    code
        What programs act on.
    message
        One sentence with the numbers in it.
    numbers
        The same numbers, for programs: what was asked, what is free, what the limit is.
    causes
        Further causes that hold at the same time, in order of dominance.
    """

    code: ReasonCode
    message: str
    numbers: dict[str, Any] = Field(default_factory=dict)
    causes: list[Reason] = Field(default_factory=list)


def dominant(reasons: list[Reason]) -> Reason:
    """The reason that comes first in ``ReasonCode``'s order, with the others as its ``causes``.

    Raises
    ------
    ValueError
        If there is none: a workload that waits without a reason breaks promise 2.
    """
    if not reasons:
        raise ValueError("a waiting workload must have a reason")
    first, *others = sorted(reasons, key=lambda reason: _DOMINANCE[reason.code])
    return first.model_copy(update={"causes": others}) if others else first


class CauseCode(StrEnum):
    """The first cause of a failure."""

    USER_ERROR = "UserError"
    OUT_OF_MEMORY = "OutOfMemory"
    NODE_LOST = "NodeLost"
    EVICTED = "Evicted"
    CODE_FETCH = "CodeFetch"
    DEPENDENCY_INSTALL = "DependencyInstall"
    DATA_NOT_READY = "DataNotReady"
    DISK_FULL = "DiskFull"
    TIME_LIMIT = "TimeLimit"
    DEPENDENCY_NEVER_SATISFIED = "DependencyNeverSatisfied"
    PLATFORM_FAULT = "PlatformFault"


class Cause(Answer):
    """Why a replica, and with it perhaps its job, ended badly.

    Parameters
    ----------
    code
        The first cause.
    message
        One sentence: what happened and, where known, what to do.
    role, replica, execution
        Where it happened first.
    exit_code, signal
        How the user's process ended, if it ran.
    """

    code: CauseCode
    message: str
    role: str | None = None
    replica: int | None = None
    execution: int | None = None
    exit_code: int | None = None
    signal: int | None = None

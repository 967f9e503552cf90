"""The states of a job and of a replica, and which may follow which."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["JOB_FINAL", "REPLICA_FINAL", "JobState", "ReplicaState", "may_follow"]


class JobState(StrEnum):
    """``queued → starting → running → succeeded | failed | cancelled``, and ``suspended`` on request."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    SUSPENDED = "suspended"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


JOB_FINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})

_NEXT: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.STARTING, JobState.SUSPENDED, JobState.CANCELLED, JobState.FAILED}),
    # A replica may end before anyone has heard that it had started.
    JobState.STARTING: frozenset({JobState.RUNNING, JobState.QUEUED, JobState.SUSPENDED, *JOB_FINAL}),
    JobState.RUNNING: frozenset({JobState.STARTING, JobState.QUEUED, JobState.SUSPENDED, *JOB_FINAL}),
    JobState.SUSPENDED: frozenset({JobState.QUEUED, JobState.CANCELLED}),
}


def may_follow(state: JobState, following: JobState) -> bool:
    """Whether a job in ``state`` may go to ``following``."""
    return following in _NEXT.get(state, frozenset())


class ReplicaState(StrEnum):
    """One replica within one attempt.

    ``pending``: placed, its agent not heard of. ``preparing``: fetching code and data, installing.
    ``ready``: waits for its gang. ``running``: the user's process runs. Then how it ended; ``lost``
    means that it ended without an exit record (its keeper or its machine died).
    """

    PENDING = "pending"
    PREPARING = "preparing"
    READY = "ready"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"


REPLICA_FINAL = frozenset(
    {ReplicaState.SUCCEEDED, ReplicaState.FAILED, ReplicaState.STOPPED, ReplicaState.LOST}
)

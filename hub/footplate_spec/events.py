"""What happened: one ordered log that every widget, page and audit reads."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from .base import Answer

__all__ = ["Event", "EventKind"]


class EventKind(StrEnum):
    """``<word>.<past participle>``."""

    JOB_SUBMITTED = "job.submitted"
    JOB_EDITED = "job.edited"
    JOB_MOVED = "job.moved"  # to another group
    JOB_EXTENDED = "job.extended"
    JOB_EXPLAINED = "job.explained"  # the reason for waiting changed
    JOB_ADMITTED = "job.admitted"
    JOB_STARTED = "job.started"  # the user's process runs in every replica
    JOB_PREEMPTED = "job.preempted"  # told to make room; it goes back to its old place in line
    JOB_REQUEUED = "job.requeued"
    JOB_STOPPING = "job.stopping"
    JOB_SUSPENDED = "job.suspended"
    JOB_RESUMED = "job.resumed"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    JOB_DELETED = "job.deleted"
    REPLICA_PREPARED = "replica.prepared"
    REPLICA_STARTED = "replica.started"
    REPLICA_ENDED = "replica.ended"
    REPLICA_RESTARTED = "replica.restarted"
    NODE_BLOCKED = "node.blocked"
    NODE_DRAINED = "node.drained"
    NODE_UNBLOCKED = "node.unblocked"
    ADDRESS_BLOCKED = "address.blocked"
    ADDRESS_UNBLOCKED = "address.unblocked"
    GROUP_CHANGED = "group.changed"
    GROUP_DELETED = "group.deleted"
    GROUP_HELD = "group.held"
    GROUP_RELEASED = "group.released"
    PRIORITIES_CHANGED = "priorities.changed"
    CLUSTER_CHANGED = "cluster.changed"
    CLUSTER_HELD = "cluster.held"
    CLUSTER_RELEASED = "cluster.released"
    SECRET_STORED = "secret.stored"
    SECRET_DELETED = "secret.deleted"
    SERVICE_STARTED = "service.started"


class Event(Answer):
    """One entry of the log.

    Parameters
    ----------
    seq
        Grows by commit order; clients resume after the last one they saw.
    subject
        What it happened to: a job's id, ``local/node-1``, a secret's name.
    actor
        Who asked for it; none when the platform did it by itself. Events with an actor are the audit trail.
    group
        The group whose people may see it.
    """

    seq: int
    time: datetime
    kind: str
    subject: str
    actor: str | None = None
    group: str | None = None
    data: dict[str, Any] = Field(default_factory=dict)

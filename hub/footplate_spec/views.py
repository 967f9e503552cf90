"""What the service answers about jobs. Read tolerantly: a newer service may say more."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from .base import Answer
from .budget import BudgetShare
from .eta import Eta
from .job import JobSpec, Payload
from .reasons import Cause, Reason, ReasonCode
from .states import JobState, ReplicaState

__all__ = [
    "ArrayCounts",
    "AttemptView",
    "Fix",
    "FollowItem",
    "JobPage",
    "JobResult",
    "JobSummary",
    "JobView",
    "Me",
    "MetricPoint",
    "ReplicaView",
    "Verdict",
    "Why",
]


class Me(Answer):
    """Who the service takes the caller for."""

    name: str
    groups: list[str]
    admin: bool = False
    administers: list[str] = Field(default_factory=list)
    version: str


class ArrayCounts(Answer):
    """How far an array has come; what is not made yet is counted as queued."""

    size: int
    queued: int = 0
    running: int = 0
    suspended: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0


class JobSummary(Answer):
    """One row of a list of jobs."""

    id: str
    name: str
    owner: str
    group: str
    state: JobState
    stopping: bool = False
    priority: str = "normal"
    replicas: int = 1
    gpu: int = 0
    declared: bool = False
    cluster: str | None = None
    attempt: int = 0
    submitted: datetime
    started: datetime | None = None
    ended: datetime | None = None
    reason: Reason | None = None
    cause: Cause | None = None
    array: ArrayCounts | None = None
    parent: str | None = Field(default=None, description="The array that it is one run of.")
    index: int | None = None


class ReplicaView(Answer):
    """One replica of an attempt."""

    role: str
    index: int
    node: str
    gpus: list[int] = Field(default_factory=list)
    state: ReplicaState
    execution: int = 1
    exit_code: int | None = None
    signal: int | None = None
    cause: Cause | None = None
    message: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    log_size: int = 0


class AttemptView(Answer):
    """One admission of the job, with where its replicas were put."""

    id: str
    number: int
    cluster: str
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    outcome: str | None = None
    cause: Cause | None = None
    replicas: list[ReplicaView] = Field(default_factory=list)


class JobView(JobSummary):
    """Everything about one job that its group may see. Secrets are names only."""

    spec: JobSpec
    time_limit: int = Field(description="Seconds, counted from the start of the user's process.")
    restarts: int = 0
    attempts: list[AttemptView] = Field(default_factory=list)


class JobPage(Answer):
    """A page of jobs, newest first; ``next`` asks for the one after it."""

    items: list[JobSummary]
    next: str | None = None


class Fix(Answer):
    """A change that was tried by the queue's own rules, and with which a job starts.

    Parameters
    ----------
    kind
        What is changed: ``flavor``, ``group``, ``cluster``, ``split``, ``exclude``, ``labels``, ``topology``,
        ``region``, ``time_limit``, ``replicas``, ``resources``; ``wait``: nothing.
    sentence
        "2 × 4 GPUs instead of 8 on one node: starts now".
    start
        When nodes are kept for it, by the time limits of what runs; unset: it starts now.
    change
        Fields of the spec with their new values, as ``PATCH jobs/{job}`` takes them.
    """

    kind: str
    sentence: str
    start: datetime | None = None
    change: dict[str, Any] = Field(default_factory=dict)


class Verdict(Answer):
    """What would become of a job that is not submitted.

    Parameters
    ----------
    starts
        ``now``; ``at`` some time; ``never``, as things are.
    code, message
        Why not now; the answer for a person.
    eta
        By when nodes are free for it, by the time limits of what runs, where that is known.
    likely
        When it will probably start, if it would wait.
    gpu_hours
        The most that it uses: until its time limit.
    cost, currency
        The most that it costs, where prices are set.
    budgets
        What it would take of each budget of its group and of those above it.
    """

    starts: Literal["now", "at", "never"]
    code: ReasonCode | None = None
    message: str
    eta: datetime | None = None
    likely: Eta | None = None
    gpu_hours: float = 0.0
    cost: float | None = None
    currency: str | None = None
    budgets: list[BudgetShare] = Field(default_factory=list)
    reason: Reason | None = None
    fixes: list[Fix] = Field(default_factory=list)


class Why(Answer):
    """Why a job waits, runs as it does, or ended as it did.

    Parameters
    ----------
    sentence
        The answer for a person.
    position
        Place in line, from 1, while it waits.
    ahead
        The jobs ahead of it that the asker may see; ``ahead_hidden`` counts the others.
    eta
        When it will start, while it waits.
    fixes
        While it waits: changes with each of which it would start now, what costs least first.
    """

    job: str
    state: JobState
    sentence: str
    reason: Reason | None = None
    cause: Cause | None = None
    position: int | None = None
    ahead: list[str] = Field(default_factory=list)
    ahead_hidden: int = 0
    eta: Eta | None = None
    fixes: list[Fix] = Field(default_factory=list)


class JobResult(Answer):
    """What a job left behind.

    Parameters
    ----------
    outputs
        The variables of a cell, or ``return`` of a function.
    files
        Digest of the tree of ``$FOOTPLATE_OUTPUT``, if the job wrote there.
    traceback
        The remote traceback as it was, if the code raised.
    """

    attempt: int
    execution: int
    outputs: dict[str, Payload] = Field(default_factory=dict)
    files: str | None = None
    error: str | None = None
    traceback: str | None = None


class MetricPoint(Answer):
    """One ``fp.report``: when, from where, what."""

    time: float
    role: str = "worker"
    replica: int = 0
    execution: int = 1
    attempt: int = 1
    step: float | None = None
    values: dict[str, float] = Field(default_factory=dict)


class FollowItem(Answer):
    """One line of ``jobs/{id}/follow``.

    ``job``: the job as it is now (first line, and after every change). ``why``: while it waits.
    ``log``: text of one replica's output. ``metrics``: points reported. ``end``: nothing follows.
    ``tick``: the connection is alive.
    """

    kind: Literal["job", "why", "log", "metrics", "end", "tick"]
    job: JobSummary | None = None
    why: Why | None = None
    metrics: list[MetricPoint] = Field(default_factory=list)
    attempt: int = 0
    role: str = ""
    replica: int = 0
    execution: int = 0
    offset: int = 0
    text: str = ""
    extra: dict[str, Any] = Field(default_factory=dict)

"""One job's course as frozen data, and the turns that it takes: pure, so that every turn can be tried.

A turn starts from what is stored, and ends in a `Change` that is written whole or not at all. Nothing is
remembered beside the records: what is to be done next always follows from them, so a service that is
killed after any commit goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from footplate_spec import (
    REPLICA_FINAL,
    Cause,
    EventKind,
    ExitReport,
    JobResult,
    JobSpec,
    JobState,
    ReplicaState,
    may_follow,
)

from ..store.attempts import AttemptRecord, Change, Happening, JobRecord, ReplicaRecord

__all__ = ["Key", "Life", "Turn"]

Key = tuple[str, int]  # role, index


@dataclass(frozen=True, slots=True)
class Life:
    """A job with its latest attempt."""

    job: JobRecord
    attempt: AttemptRecord | None = None
    replicas: Mapping[Key, ReplicaRecord] = field(default_factory=dict)

    @property
    def live(self) -> bool:
        """Whether an attempt is on: it holds its nodes, and its tokens are good."""
        return self.attempt is not None and self.attempt.ended is None


class Turn:
    """What becomes of a life in one step. Mutable while it is decided, then two frozen results.

    Parameters
    ----------
    life
        As stored.
    now
        Unix seconds of everything that this turn records.
    """

    def __init__(self, life: Life, spec: JobSpec, now: float) -> None:
        self.before = life
        self.spec = spec
        self.now = now
        self.job = life.job
        self.attempt = life.attempt
        self.replicas = dict(life.replicas)
        self.happenings: list[Happening] = []

    @property
    def after(self) -> Life:
        """The life once the change is stored."""
        return Life(self.job, self.attempt, self.replicas)

    @property
    def change(self) -> Change:
        """What to store."""
        is_new = self.attempt is not None and (
            self.before.attempt is None or self.before.attempt.id != self.attempt.id
        )
        changed = tuple(
            row for key, row in self.replicas.items() if is_new or row is not self.before.replicas.get(key)
        )
        before = self.before.job
        return Change(
            job=self.job,
            job_changed=self.job is not before,
            edited=(self.job.time_limit, self.job.spec) != (before.time_limit, before.spec),
            new_attempt=self.attempt if is_new else None,
            attempt=self.attempt if not is_new and self.attempt is not self.before.attempt else None,
            new_replicas=changed if is_new else (),
            replicas=() if is_new else changed,
            happenings=tuple(self.happenings),
        )

    def happened(self, kind: EventKind, *, actor: str | None = None, **data: Any) -> None:
        """Record an event with the change."""
        self.happenings.append(Happening(kind.value, data, actor))

    def move(self, state: JobState, **values: Any) -> None:
        """Bring the job to another state.

        Raises
        ------
        ValueError
            If that state may not follow: a mistake of this program, never of a person.
        """
        if state is JobState.SUSPENDED:
            values["owed"] = False  # whoever goes aside leaves the room to others
        if state != self.job.state and not may_follow(self.job.state, state):
            raise ValueError(f"{self.job.id} cannot go from {self.job.state} to {state}")
        self.job = replace(self.job, state=state, **values)

    def stop(self, reason: str, *, actor: str | None = None) -> None:
        """Have all processes of the attempt ended, for this reason (a ``Stop.reason``)."""
        self.job = replace(self.job, stopping=reason)
        if actor is not None or not self.all_done():
            self.happened(EventKind.JOB_STOPPING, actor=actor, reason=reason)

    def extend(self, time_limit: int, actor: str) -> None:
        """Let it run longer, or less long."""
        self.job = replace(self.job, time_limit=time_limit)
        self.happened(EventKind.JOB_EXTENDED, actor=actor, time_limit=time_limit)

    def reprioritise(self, priority: str, actor: str) -> None:
        """Let it be more or less urgent, for those who would take its place."""
        self._respec(priority=priority)
        self.job = replace(self.job, priority=priority)
        self.happened(EventKind.JOB_EDITED, actor=actor, changed=["priority"], place_kept=True)

    def pin(self, commit: str) -> None:
        """Let the job's code be this commit, whatever its ref will be."""
        assert self.spec.source.git is not None
        git = self.spec.source.git.model_copy(update={"commit": commit})
        source = self.spec.source.model_copy(update={"git": git})
        self._respec(source=source)

    def _respec(self, **values: Any) -> None:
        self.spec = self.spec.model_copy(update=values)
        self.job = replace(self.job, spec=self.spec.model_dump_json(by_alias=True))

    def set_replica(self, row: ReplicaRecord, **values: Any) -> ReplicaRecord:
        """Change one replica."""
        row = replace(row, **values)
        self.replicas[row.role, row.index] = row
        return row

    def note_failure(self, cause: Cause) -> None:
        """Keep the first cause of the attempt's trouble."""
        if self.attempt is not None:
            self.attempt = replace(self.attempt, cause=cause)

    def close_replica(
        self, row: ReplicaRecord, state: ReplicaState, exit_: ExitReport | None, cause: Cause | None
    ) -> None:
        """Record how a replica's execution ended."""
        ended = (exit_.ended if exit_ is not None else None) or self.now
        self.set_replica(
            row,
            state=state,
            exit=exit_,
            cause=cause,
            exit_code=exit_.exit_code if exit_ else None,
            signal=exit_.signal if exit_ else None,
            log_size=exit_.log_size if exit_ else row.log_size,
            started=row.started or (exit_.started if exit_ and exit_.ran else None),
            ended=ended,
            message="",
        )
        self.happened(
            EventKind.REPLICA_ENDED,
            role=row.role,
            replica=row.index,
            execution=row.execution,
            state=state.value,
            exit_code=exit_.exit_code if exit_ else None,
            signal=exit_.signal if exit_ else None,
            cause=cause.model_dump(mode="json", exclude_none=True) if cause else None,
        )

    def start_again(self, row: ReplicaRecord) -> None:
        """Ask for the next execution of a replica whose last one has ended."""
        row = self.set_replica(
            row,
            execution=row.execution + 1,
            state=ReplicaState.PENDING,
            exit=None,
            cause=None,
            exit_code=None,
            signal=None,
            message="",
            address=None,
            port=None,
            started=None,
            ended=None,
            log_size=0,
        )
        self.happened(EventKind.REPLICA_RESTARTED, role=row.role, replica=row.index, execution=row.execution)

    def end_attempt(self, outcome: str) -> None:
        """Close the attempt: its tokens die, its nodes are free."""
        if self.attempt is not None and self.attempt.ended is None:
            self.attempt = replace(self.attempt, ended=self.now, outcome=outcome)

    def requeue(self, outcome: str) -> None:
        """Let the job wait for its next attempt, in its old place."""
        self.end_attempt(outcome)
        self.move(JobState.QUEUED, stopping=None, cluster=None)
        self.happened(EventKind.JOB_REQUEUED, outcome=outcome)

    def finish(self, state: JobState, cause: Cause | None = None, *, actor: str | None = None) -> None:
        """End the job for good, with its result."""
        self.end_attempt(state.value)
        self.move(state, stopping=None, ended=self.now, cause=cause, result=self._result(cause))
        kind = {
            JobState.SUCCEEDED: EventKind.JOB_SUCCEEDED,
            JobState.FAILED: EventKind.JOB_FAILED,
            JobState.CANCELLED: EventKind.JOB_CANCELLED,
        }[state]
        if cause is None:
            self.happened(kind, actor=actor)
        else:
            self.happened(kind, cause=cause.model_dump(mode="json", exclude_none=True))

    def _result(self, cause: Cause | None) -> JobResult | None:
        """What rank 0 left; of a failed job, the error of the replica that failed first."""
        if self.attempt is None:
            return None
        first = self.replicas.get((self.spec.leading_role, 0))
        if first is None or first.exit is None:
            return None
        told = first.exit
        if cause is not None and cause.role is not None and cause.replica is not None:
            failed = self.replicas.get((cause.role, cause.replica))
            if failed is not None and failed.exit is not None and failed.exit.error:
                told = failed.exit
        return JobResult(
            attempt=self.attempt.number,
            execution=first.execution,
            outputs=first.exit.outputs,
            files=first.exit.files,
            error=told.error,
            traceback=told.traceback,
        )

    def all_done(self) -> bool:
        """Whether no process of the attempt is left."""
        return all(row.state in REPLICA_FINAL for row in self.replicas.values())

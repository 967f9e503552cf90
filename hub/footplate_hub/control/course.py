"""The turns of a job: admitted, heard of, stopped, lost, settled. Pure; see `life`.

`settle` is level-triggered: called after anything changed, and once more after a restart of the service,
it looks only at the records and does whatever is due.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from footplate_spec import (
    REPLICA_FINAL,
    Cause,
    CauseCode,
    EventKind,
    JobState,
    ReplicaState,
    Report,
    attempt_id,
)

from ..store.attempts import AttemptRecord, ReplicaRecord
from .life import Turn
from .recovery import action, cause_of, end_state, ends_job, first_failed, may_restart

__all__ = ["Placed", "Usable", "admit", "hear", "lose", "make_room", "settle"]

Usable = Callable[[str, str], bool]  # cluster, node
Placed = tuple[str, int, str, str, tuple[int, ...]]  # role, index, node, flavor, gpus
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_STEPS = [ReplicaState.PENDING, ReplicaState.PREPARING, ReplicaState.READY, ReplicaState.RUNNING]
_RAN = {ReplicaState.RUNNING, ReplicaState.SUCCEEDED, ReplicaState.LOST}


def admit(turn: Turn, cluster: str, placed: Sequence[Placed], *, declared: bool, price: float = 0.0) -> None:
    """Give a waiting job its next attempt; ``price`` is that of an hour."""
    number = turn.job.attempt + 1
    turn.attempt = AttemptRecord(
        id=attempt_id(turn.job.id, number),
        job=turn.job.id,
        number=number,
        cluster=cluster,
        created=turn.now,
        gpu=sum(len(gpus) for *_, gpus in placed),
        price=price,
    )
    turn.replicas = {
        (role, index): ReplicaRecord(
            attempt=turn.attempt.id, role=role, index=index, node=node, flavor=flavor, gpus=gpus
        )
        for role, index, node, flavor, gpus in placed
    }
    turn.move(
        JobState.STARTING,
        attempt=number,
        cluster=cluster,
        declared=declared,
        stopping=None,
        owed=False,
        replicas=len(placed),
        gpu=turn.attempt.gpu,
    )
    nodes = sorted({row.node for row in turn.replicas.values()})
    turn.happened(EventKind.JOB_ADMITTED, attempt=number, cluster=cluster, nodes=nodes)


def hear(turn: Turn, row: ReplicaRecord, report: Report) -> None:
    """Take in an agent's report about the execution that may run now."""
    if row.state in REPLICA_FINAL or report.execution != row.execution:
        return
    if report.exit is not None and report.exit.execution == row.execution:
        cause = cause_of(report.exit, row, turn.job.time_limit)
        turn.close_replica(row, end_state(report.exit), report.exit, cause)
        if report.exit.stopped == "taken_away":  # it will run nothing more
            turn.set_replica(turn.replicas[row.role, row.index], holder=None)
        return
    _note_commit(turn, report)
    state = ReplicaState(report.state) if report.state != "exited" else row.state
    if _STEPS.index(state) > _STEPS.index(row.state):
        started = (report.started or turn.now) if state is ReplicaState.RUNNING else None
        row = turn.set_replica(row, state=state, started=started, message=report.message)
        if state is ReplicaState.READY:
            turn.happened(EventKind.REPLICA_PREPARED, role=row.role, replica=row.index)
        if state is ReplicaState.RUNNING:
            turn.happened(
                EventKind.REPLICA_STARTED, role=row.role, replica=row.index, execution=row.execution
            )
    elif report.message != row.message and state is row.state:
        row = turn.set_replica(row, message=report.message)
    if report.state == "ready" and (report.address, report.port) != (row.address, row.port):
        turn.set_replica(row, address=report.address, port=report.port)


def _note_commit(turn: Turn, report: Report) -> None:
    """Record what a ref was that only the job's secret could resolve: whatever runs later runs the same."""
    commit, git = report.environment.get("git_commit"), turn.spec.source.git
    if git is None or git.commit is not None or not isinstance(commit, str):
        return
    if _COMMIT.fullmatch(commit):
        turn.pin(commit)


def make_room(turn: Turn, attempt: str, *, why: str) -> bool:
    """Stop an attempt for another job, which is not named: who sees this one may not see that one.

    Returns
    -------
    bool
        Whether it is stopped for that, and was not before.
    """
    here = turn.before.live and turn.attempt is not None and turn.attempt.id == attempt
    if not here or turn.job.stopping not in {None, "gang"}:
        return False
    turn.stop("preempted")
    turn.happened(EventKind.JOB_PREEMPTED, why=why)
    return True


def lose(turn: Turn, row: ReplicaRecord, cause: Cause, *, state: ReplicaState = ReplicaState.LOST) -> None:
    """Record the end of a replica that nobody will report: it could not be started, or is gone."""
    if row.state not in REPLICA_FINAL:
        placed = {"role": row.role, "replica": row.index, "execution": row.execution}
        turn.close_replica(row, state, None, cause.model_copy(update=placed))


def settle(turn: Turn, usable: Usable) -> None:
    """Do what follows from the state of the replicas."""
    if turn.attempt is None or turn.attempt.ended is not None:
        return
    _note_start(turn)
    if turn.job.stopping is None:
        _look_at_ends(turn)
    elif turn.job.stopping == "finished":
        _refine_cause(turn)
    if turn.job.stopping is not None and turn.all_done():
        _stopped(turn, usable)


def _note_start(turn: Turn) -> None:
    """The job runs once every replica has a process."""
    rows = turn.replicas.values()
    if turn.job.state is not JobState.STARTING or turn.attempt is None:
        return
    if all(row.started is not None for row in rows):
        started = max(row.started or 0.0 for row in rows)
        if turn.attempt.started is None:
            turn.attempt = replace(turn.attempt, started=started)
        turn.move(JobState.RUNNING, started=turn.job.started or started)
        turn.happened(EventKind.JOB_STARTED, attempt=turn.attempt.number)


def _look_at_ends(turn: Turn) -> None:
    failed = first_failed(turn.spec, turn.replicas.values())
    if failed is not None and failed.cause is not None:
        _recover(turn, failed, failed.cause)
        return
    succeeded = {row.role for row in turn.replicas.values() if row.state is ReplicaState.SUCCEEDED}
    deciding = [role for role in sorted(succeeded) if ends_job(turn.spec, role) and _role_done(turn, role)]
    if turn.all_done():
        if succeeded:
            turn.finish(JobState.SUCCEEDED)
        else:
            rows = sorted(turn.replicas.values(), key=lambda row: row.ended or 0.0)
            turn.finish(JobState.FAILED, next((row.cause for row in rows if row.cause), None))
    elif deciding:
        turn.stop("finished")


def _role_done(turn: Turn, role: str) -> bool:
    return all(row.state in REPLICA_FINAL for row in turn.replicas.values() if row.role == role)


def _recover(turn: Turn, failed: ReplicaRecord, cause: Cause) -> None:
    turn.note_failure(cause)
    what = action(turn.spec, failed.role, cause)
    if what != "fail_job" and not may_restart(turn.spec, turn.job.restarts):
        what = "fail_job"
        if turn.job.restarts:
            again = "once" if turn.job.restarts == 1 else f"{turn.job.restarts} times"
            cause = cause.model_copy(
                update={"message": f"{cause.message} It had been started again {again}."}
            )
    if what == "fail_job":
        turn.job = replace(turn.job, cause=cause)
        turn.stop("finished")
        return
    turn.job = replace(turn.job, restarts=turn.job.restarts + 1)
    if what == "restart_gang":
        turn.stop("gang")
        return
    turn.start_again(failed)
    if not any(row.state is ReplicaState.RUNNING for row in turn.replicas.values()):
        turn.move(JobState.STARTING)
    _look_at_ends(turn)


def _refine_cause(turn: Turn) -> None:
    """Peers of a failed replica fail too, and may be heard of sooner: the first to end is the cause."""
    if turn.job.cause is None:
        return
    failed = first_failed(turn.spec, turn.replicas.values())
    if failed is not None and failed.cause is not None and not _same_place(failed.cause, turn.job.cause):
        turn.job = replace(turn.job, cause=failed.cause)
        turn.note_failure(failed.cause)


def _same_place(one: Cause, other: Cause) -> bool:
    return (one.role, one.replica, one.execution) == (other.role, other.replica, other.execution)


def _stopped(turn: Turn, usable: Usable) -> None:
    """Every process has ended: go where the stop was meant to lead."""
    reason, rows = turn.job.stopping, list(turn.replicas.values())
    if reason == "finished":
        turn.finish(JobState.FAILED if turn.job.cause else JobState.SUCCEEDED, turn.job.cause)
        return
    if reason != "gang" and all(row.state is ReplicaState.SUCCEEDED for row in rows):
        turn.finish(JobState.SUCCEEDED)  # it was done before it was asked to stop
        return
    if reason == "cancelled":
        turn.finish(JobState.CANCELLED)
        return
    failed = first_failed(turn.spec, rows)
    cause = failed.cause if failed is not None and reason != "gang" else None
    if failed is not None and cause is not None and action(turn.spec, failed.role, cause) == "fail_job":
        turn.finish(JobState.FAILED, cause)
    elif reason == "suspended":
        turn.end_attempt("suspended")
        turn.move(JobState.SUSPENDED, stopping=None, cluster=None)
        turn.happened(EventKind.JOB_SUSPENDED)
    elif reason in {"evicted", "preempted"}:
        _made_room(turn, rows, reason)
    else:
        _gang_again(turn, rows, usable)


def _made_room(turn: Turn, rows: list[ReplicaRecord], reason: str) -> None:
    """Back to the queue, in its old place: it did nothing wrong, so its restarts are not counted."""
    if turn.spec.recovery.max_restarts == 0 and any(row.started or row.state in _RAN for row in rows):
        cause = turn.attempt.cause if turn.attempt is not None else None
        told = cause or Cause(code=CauseCode.EVICTED, message="It was stopped to make room for others.")
        message = f"{told.message.rstrip('.')}; max_restarts: 0 forbids to run it again."
        turn.finish(JobState.FAILED, told.model_copy(update={"message": message}))
    else:
        turn.requeue(reason)


def _gang_again(turn: Turn, rows: list[ReplicaRecord], usable: Usable) -> None:
    cluster = turn.attempt.cluster if turn.attempt else ""
    if not all(usable(cluster, row.node) for row in rows):
        turn.requeue("restarted")
        return
    for row in rows:
        turn.start_again(row)
    turn.move(JobState.STARTING, stopping=None)

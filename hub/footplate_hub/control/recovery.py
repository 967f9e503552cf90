"""What follows from how a replica ended: the first cause, and what the job's policy makes of it. Pure.

A role that says nothing about failures gets what people expect: a fault of the platform or of a machine
starts the gang again from its checkpoint, the program's own error fails the job.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from footplate_spec import Cause, CauseCode, ExitReport, JobSpec, ReplicaState

from ..store.attempts import ReplicaRecord

__all__ = ["Action", "action", "cause_of", "end_state", "ends_job", "first_failed", "may_restart"]

Action = Literal["restart_replica", "restart_gang", "fail_job", "ignore"]
_NOT_THE_PROGRAM = {CauseCode.NODE_LOST, CauseCode.PLATFORM_FAULT, CauseCode.EVICTED}
_FAILED = {ReplicaState.FAILED, ReplicaState.LOST}


def end_state(exit_: ExitReport) -> ReplicaState:
    """The state that an exit leaves a replica in."""
    if exit_.lost or exit_.stopped in {"taken_away", "fenced"}:
        return ReplicaState.LOST
    if exit_.stopped is not None and exit_.stopped != "time_limit":
        return ReplicaState.STOPPED
    succeeded = exit_.exit_code == 0 and exit_.stopped is None and exit_.cause is None
    return ReplicaState.SUCCEEDED if succeeded else ReplicaState.FAILED


def cause_of(exit_: ExitReport, row: ReplicaRecord, time_limit: int) -> Cause | None:
    """Why an execution ended badly: what the agent found, else what its exit says."""
    state = end_state(exit_)
    if state not in _FAILED:
        return None
    found = exit_.cause
    if exit_.stopped == "time_limit" and (found is None or found.code != CauseCode.TIME_LIMIT):
        message = f"The program ran longer than its time limit of {time_limit} s."
        found = Cause(code=CauseCode.TIME_LIMIT, message=message)
    if found is None and exit_.stopped == "taken_away":
        message = "The cluster took its pod away; it was given time to save what it had done."
        found = Cause(code=CauseCode.EVICTED, message=message)
    if found is None and exit_.stopped == "fenced":
        message = "It had no word from the service for as long as fence_after says, and was ended there."
        found = Cause(code=CauseCode.NODE_LOST, message=message)
    if found is None and exit_.lost:
        message = "The replica ended without a trace: its keeper or its machine died."
        found = Cause(code=CauseCode.NODE_LOST, message=message)
    if found is None:
        how = f"signal {exit_.signal}" if exit_.signal else f"exit code {exit_.exit_code}"
        found = Cause(code=CauseCode.USER_ERROR, message=f"The program ended with {how}.")
    return found.model_copy(
        update={
            "role": row.role,
            "replica": row.index,
            "execution": row.execution,
            "exit_code": exit_.exit_code if found.exit_code is None else found.exit_code,
            "signal": exit_.signal if found.signal is None else found.signal,
        }
    )


def action(spec: JobSpec, role: str, cause: Cause) -> Action:
    """What the policy of a role makes of a failure."""
    if cause.code == CauseCode.TIME_LIMIT:
        return "fail_job"
    [policy] = [r.on_failure for r in spec.roles if r.name == role]
    if policy is not None:
        return policy
    return "restart_gang" if cause.code in _NOT_THE_PROGRAM else "fail_job"


def first_failed(spec: JobSpec, rows: Iterable[ReplicaRecord]) -> ReplicaRecord | None:
    """Of the failures that are not to be ignored, the one that happened first."""
    counted = [
        row
        for row in rows
        if row.state in _FAILED and row.cause is not None and action(spec, row.role, row.cause) != "ignore"
    ]
    return min(counted, key=lambda row: (row.ended or 0.0, row.role, row.index), default=None)


def may_restart(spec: JobSpec, restarts: int) -> bool:
    """Whether the job may run again after a fault."""
    return restarts < spec.recovery.max_restarts


def ends_job(spec: JobSpec, role: str) -> bool:
    """Whether the success of a role is the job's: as it says, or because it is the master of others."""
    [found] = [r for r in spec.roles if r.name == role]
    return found.on_success == "end_job" or (
        role == "master" and spec.leading_role == role and len(spec.roles) > 1
    )

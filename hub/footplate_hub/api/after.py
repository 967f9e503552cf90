"""Jobs that wait for jobs: what may be waited for, and how it is told to one who may see less.

A job may wait only for jobs that its submitter may see. Others who see the job learn of those jobs only
what they may see themselves.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from footplate_spec import JOB_FINAL, Cause, CauseCode, JobSpec, JobState, Reason, ReasonCode
from footplate_spec.job import After
from footplate_spec.units import format_about

from ..identity import Person
from ..rooms import Rooms
from ..store import Transaction, dependencies, jobs
from ..store.dependencies import Dependency
from .errors import Refusal

__all__ = ["check_after", "hide_after", "tell_cause", "tell_reason"]

HIDDEN = "hidden"  # in the place of a job that one may not see
_WORDS = {"succeeded": "succeed", "failed": "fail", "finished": "end"}


async def check_after(t: Transaction, person: Person, after: Sequence[After], job: str | None = None) -> None:
    """Refuse to wait for what one may not see, for what can no longer come, and in a circle.

    Parameters
    ----------
    job
        The job that is to wait, if it is there already.
    """
    if not after:
        return
    known = await dependencies.upstream_states(t, {one.job for one in after})
    for one in after:
        if one.job not in known or not person.viewer.sees(*known[one.job][:2]):
            raise Refusal(422, f"after: there is no job {one.job!r}, or you may not see it")
        state = known[one.job][2]
        if state in JOB_FINAL and Dependency(one.job, one.outcome, state).never:
            raise Refusal(
                422,
                f"after: {one.job} has {_ended(state)}, so a job that waits for it to {_WORDS[one.outcome]} "
                "would never start",
                "never",
            )
    if job is not None and job in await dependencies.ahead_of(t, {one.job for one in after}):
        others = ", ".join(one.job for one in after)
        raise Refusal(422, f"after: {others} waits for {job} itself, so neither would ever start", "circle")


def _ended(state: JobState) -> str:
    return "been cancelled" if state is JobState.CANCELLED else state.value


async def _seen(rooms: Rooms, person: Person, spec: JobSpec) -> dict[str, str]:
    """States of the jobs that ``spec`` waits for, as far as the person may see them."""
    async with rooms.database.read() as connection:
        return await jobs.states_among(connection, person.viewer, [after.job for after in spec.after])


async def hide_after(rooms: Rooms, person: Person, spec: JobSpec) -> JobSpec:
    """The spec with ``hidden`` in the place of jobs that the person may not see."""
    if not spec.after or person.admin:
        return spec
    seen = await _seen(rooms, person, spec)
    shown = [after if after.job in seen else after.model_copy(update={"job": HIDDEN}) for after in spec.after]
    return spec.model_copy(update={"after": shown})


async def tell_reason(rooms: Rooms, person: Person, spec: JobSpec, reason: Reason | None) -> Reason | None:
    """The reason with the jobs named that the person may see."""
    if reason is None or reason.code != ReasonCode.WAITING_FOR_JOBS or not spec.after:
        return reason
    seen = await _seen(rooms, person, spec)
    async with rooms.database.read() as connection:
        ends = await jobs.ends_among(connection, list(seen))
    parts, hidden = [], 0
    for after in spec.after:
        state = seen.get(after.job)
        if state is None:
            hidden += 1
        elif state not in JOB_FINAL:
            until = ""
            if after.job in ends:
                until = f", and ends within {format_about(ends[after.job] - time.time())} by its time limit"
            parts.append(f"{after.job} ({state}{until}) to {_WORDS[after.outcome]}")
    if not parts:
        return reason
    unseen = reason.numbers.get("jobs", len(parts)) - len(parts)
    if hidden and unseen > 0:
        parts.append("another job" if unseen == 1 else f"{unseen} other jobs")
    return reason.model_copy(update={"message": f"It waits for {', for '.join(parts)}."})


async def tell_cause(rooms: Rooms, person: Person, spec: JobSpec, cause: Cause | None) -> Cause | None:
    """The cause with the job named that ended otherwise than this one needed, if the person may see it."""
    if cause is None or cause.code != CauseCode.DEPENDENCY_NEVER_SATISFIED:
        return cause
    seen = await _seen(rooms, person, spec)
    for after in spec.after:
        state = JobState(seen[after.job]) if after.job in seen else None
        if state in JOB_FINAL and Dependency(after.job, after.outcome, state).never:
            message = cause.message.replace("A job that it waited for", after.job, 1)
            return cause.model_copy(update={"message": message})
    return cause

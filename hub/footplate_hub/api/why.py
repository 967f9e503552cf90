"""The answer to "why?": one sentence for a person, the codes for a program, and who is ahead."""

from __future__ import annotations

from collections.abc import Sequence

from footplate_spec import ArrayCounts, Fix, JobSpec, JobState, JobSummary, Reason, Why
from footplate_spec.units import format_seconds

from ..control.specs import read_spec
from ..identity import Person
from ..queue.words import list_words
from ..rooms import Rooms
from ..store import jobs, views
from .after import tell_cause, tell_reason
from .etas import likely
from .fixes import freedom_of, offered

__all__ = ["explain", "place_words"]

_SHOWN = 20  # jobs ahead that are listed
_NAMED = 3  # those of them that the sentence names

_TOLD = "its processes were told to write a checkpoint and end."
_STOPPING = {
    "preempted": " to make room for others, and goes back to its old place in line",
    "evicted": " because its node was blocked, and goes back to its old place in line",
    "suspended": " until it is resumed",
}


async def explain(rooms: Rooms, person: Person, row: jobs.JobRow, *, foretell: bool = True) -> Why:
    """Why a job is in the state it is in. Jobs ahead that the person may not see are only counted.

    Parameters
    ----------
    foretell
        Whether to say when it will start, and what would start it now: both change from second to second.
    """
    job = row["id"]
    async with rooms.database.read() as connection:
        counts = await views.runs_of(connection, row)
    summary = jobs.summary(row, rooms.control.reason(job), counts)
    spec = read_spec(row["spec"])
    if spec.after:
        told = {
            "reason": await tell_reason(rooms, person, spec, summary.reason),
            "cause": await tell_cause(rooms, person, spec, summary.cause),
        }
        summary = summary.model_copy(update=told)
    position: int | None = None
    ahead: list[str] = []
    hidden = 0
    eta = rooms.control.eta(job) if foretell else None
    helps: list[Fix] = []
    if summary.state is JobState.QUEUED and (line := rooms.control.position(job)) is not None:
        position, before = line
        async with rooms.database.read() as connection:
            seen = await jobs.visible_among(connection, person.viewer, before)
        hidden = len(before) - len(seen)
        ahead = seen[:_SHOWN]
        helps = await _fixes(rooms, person, row, spec) if foretell else []
    return Why(
        job=job,
        state=summary.state,
        sentence=_sentence(row, summary, place_words(position, ahead)) + likely(eta),
        reason=summary.reason,
        cause=summary.cause,
        position=position,
        ahead=ahead,
        ahead_hidden=hidden,
        eta=eta,
        fixes=helps,
    )


async def _fixes(rooms: Rooms, person: Person, row: jobs.JobRow, spec: JobSpec) -> list[Fix]:
    """What would start it now. To another group it can be moved only by one who is in it."""
    groups = (row["group_path"], *person.groups) if row["owner"] == person.name else (row["group_path"],)
    owner = Person(row["owner"], groups)
    answer = await rooms.control.advice.fixes(row["id"], freedom_of(spec, owner))
    if answer is None:
        return []
    workload, found = answer
    return offered(rooms, owner, spec, workload, found)


def _of_runs(array: ArrayCounts) -> str:
    told = [
        f"{count} {word}"
        for count, word in (
            (array.succeeded, "succeeded"),
            (array.failed, "failed"),
            (array.cancelled, "cancelled"),
            (array.running, "running"),
            (array.queued, "waiting"),
            (array.suspended, "suspended"),
        )
        if count
    ]
    return f"Of {array.size} runs: {', '.join(told)}."


def place_words(position: int | None, ahead: Sequence[str]) -> str:
    """The place in line, and behind whom as far as the person may see them."""
    if position is None:
        return ""
    if position == 1:
        return "First in line. "
    named = list(ahead[:_NAMED])
    more = position - 1 - len(named)
    if named and more:
        named.append("1 more" if more == 1 else f"{more} more")
    return f"Number {position} in line{f', behind {list_words(named)}' if named else ''}. "


def _reasons(reason: Reason) -> str:
    """All that stands in the way: with the first thing mended, the others would still."""
    others = [cause.message for cause in reason.causes]
    return " ".join([reason.message, *(f"Also: {message}" for message in others)])


def _sentence(row: jobs.JobRow, summary: JobSummary, place: str) -> str:
    if summary.stopping:
        lost = f" {summary.reason.message}" if summary.reason is not None else ""
        return f"It is being stopped{_STOPPING.get(row['stopping'], '')}: {_TOLD}{lost}"
    if summary.array is not None and summary.cause is None:
        return _of_runs(summary.array) + (f" {summary.reason.message}" if summary.reason is not None else "")
    if summary.reason is not None:
        return place + _reasons(summary.reason)
    if summary.cause is not None:
        return summary.cause.message
    return {
        JobState.QUEUED: "It waits in line.",
        JobState.STARTING: "Its code and packages are being prepared.",
        JobState.RUNNING: f"It runs, for at most {format_seconds(row['time_limit'])}.",
        JobState.SUSPENDED: "It is suspended until it is resumed.",
        JobState.SUCCEEDED: "It succeeded.",
        JobState.FAILED: "It failed, and no cause was recorded.",
        JobState.CANCELLED: "It was cancelled.",
    }[summary.state]

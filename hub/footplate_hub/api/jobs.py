"""Jobs: submit, list, look, edit, stop, delete."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import Field, ValidationError

from footplate_spec import (
    JOB_FINAL,
    Event,
    JobPage,
    JobResult,
    JobSpec,
    JobState,
    JobView,
    MetricPoint,
    Submitted,
    Why,
    explain_validation,
)
from footplate_spec.base import Answer

from ..identity import Person
from ..rooms import Rooms
from ..store import Transaction, arrays, events, jobs, views
from .after import check_after, hide_after, tell_cause, tell_reason
from .callers import Caller, In, Submitter
from .checks import check, secret_names, time_limit_of
from .errors import Refusal, not_found
from .submitting import check_secrets, submit
from .why import explain

__all__ = ["JobId", "deleted", "router", "visible_job"]

router = APIRouter(prefix="/jobs", tags=["jobs"])
JobId = Annotated[str, Path(max_length=60)]
Key = Annotated[str, Field(min_length=1, max_length=200)]
_EDITABLE = (
    "priority", "time_limit", "roles", "exclude", "placement", "cluster", "region", "env", "recovery",
    "after", "group",
)  # fmt: skip
_LIVE = {JobState.STARTING, JobState.RUNNING}


class Batch(Submitted):
    """Up to a thousand jobs, all or none; ``keys`` are idempotency keys, one for each or none at all."""

    what = "a batch"
    jobs: Annotated[list[JobSpec], Field(min_length=1, max_length=1000)]
    keys: list[Key] = Field(default_factory=list)


class BatchIds(Answer):
    """The ids of a batch's jobs, in its order."""

    ids: list[str]


class MetricsPage(Answer):
    """Points, and the byte offset to go on from."""

    points: list[MetricPoint]
    next: int


def json_of(model: Answer, status: int = 200) -> Response:
    """An answer as it leaves: written once, by the model itself."""
    return Response(model.model_dump_json(by_alias=True), status, media_type="application/json")


async def visible_job(rooms: Rooms, person: Person, job: str) -> jobs.JobRow:
    """The job, if the person may see it."""
    async with rooms.database.read() as connection:
        row = await jobs.find(connection, job)
    if row is None or not person.viewer.sees(row["owner"], row["group_path"]):
        raise not_found(f"job {job!r}")
    return row


async def _changeable_job(rooms: Rooms, person: Person, job: str) -> jobs.JobRow:
    row = await visible_job(rooms, person, job)
    if row["owner"] != person.name and not person.runs(row["group_path"]):
        raise Refusal(403, f"{job} is {row['owner']}'s; only they or an administrator may change it")
    return row


async def _view(rooms: Rooms, person: Person, job: str, status: int = 200) -> Response:
    async with rooms.database.read() as connection:
        row = await jobs.find(connection, job)
        if row is None:
            raise not_found(f"job {job!r}")
        view = await views.job_view(connection, row, rooms.control.reason(job))
    if view.spec.after:
        told = {
            "reason": await tell_reason(rooms, person, view.spec, view.reason),
            "cause": await tell_cause(rooms, person, view.spec, view.cause),
            "spec": await hide_after(rooms, person, view.spec),
        }
        view = view.model_copy(update=told)
    return json_of(view, status)


@router.post("", status_code=201, response_model=JobView)
async def submit_one(
    spec: JobSpec,
    rooms: In,
    person: Submitter,
    key: Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)] = None,
) -> Response:
    """Submit a job. The same key again is the same job."""
    (job,), new = await submit(rooms, person, [spec], [key])
    return await _view(rooms, person, job, 201 if new else 200)


@router.post("/batch", status_code=201)
async def submit_batch(batch: Batch, rooms: In, person: Submitter) -> BatchIds:
    """Submit many jobs in one transaction: all are queued, or none is."""
    keys: list[str | None] = list(batch.keys) or [None] * len(batch.jobs)
    if len(keys) != len(batch.jobs):
        raise Refusal(422, f"{len(batch.jobs)} jobs but {len(keys)} keys; give each job one, or none")
    if batch.keys and len(set(keys)) != len(keys):
        raise Refusal(422, "an idempotency key occurs twice in the batch")
    ids, _ = await submit(rooms, person, batch.jobs, keys)
    return BatchIds(ids=ids)


@router.get("", response_model=JobPage)
async def list_jobs(
    rooms: In,
    person: Caller,
    *,
    state: Annotated[str | None, Query(description="States, with commas between them.")] = None,
    group: str | None = None,
    owner: str | None = None,
    parent: Annotated[str | None, Query(description="The runs of this array.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[str | None, Query(description="`next` of the page before.")] = None,
) -> Response:
    """Jobs that one may see, newest first."""
    states = [] if state is None else state.split(",")
    for name in states:
        if name not in set(JobState):
            raise Refusal(422, f"there is no state {name!r}; there are {', '.join(JobState)}")
    async with rooms.database.read() as connection:
        rows = await jobs.page(
            connection,
            person.viewer,
            states=states,
            group=group,
            owner=owner,
            parent=parent,
            limit=limit + 1,
            before=_mark(before),
        )
        counts = await arrays.run_counts(connection, [row["id"] for row in rows if row["array_size"]])
    items = [
        jobs.summary(row, rooms.control.reason(row["id"]), counts.get(row["id"])) for row in rows[:limit]
    ]
    last = rows[limit - 1] if len(rows) > limit else None
    following = f"{last['submitted']!r}~{last['id']}" if last is not None else None
    return json_of(JobPage(items=items, next=following))


def _mark(before: str | None) -> tuple[float, str] | None:
    if before is None:
        return None
    moment, _, job = before.partition("~")
    try:
        return float(moment), job
    except ValueError:
        raise Refusal(422, f"{before!r} is not the mark of a page; use the page's 'next'") from None


@router.get("/{job}", response_model=JobView)
async def one(job: JobId, rooms: In, person: Caller) -> Response:
    """Everything about one job."""
    await visible_job(rooms, person, job)
    return await _view(rooms, person, job)


@router.patch("/{job}", response_model=JobView)
async def edit(job: JobId, changes: dict[str, Any], rooms: In, person: Submitter) -> Response:
    """Edit or move a job that waits or is suspended, or the time limit and priority of a running one."""
    row = await _changeable_job(rooms, person, job)
    for name in changes:
        if name not in _EDITABLE:
            raise Refusal(422, f"{name!r} cannot be changed; what can is {', '.join(_EDITABLE)}")
    if not changes:
        raise Refusal(422, f"nothing to change; what can be is {', '.join(_EDITABLE)}")
    spec = _changed(JobSpec.model_validate_json(row["spec"]), changes)
    if spec.group != row["group_path"] and not (spec.group in person.groups or person.runs(spec.group or "")):
        raise Refusal(403, f"you are not in group {spec.group!r}, so you cannot move {job} there", "group")
    spec = check(rooms, Person(row["owner"], (spec.group or row["group_path"],)), spec)
    limit = time_limit_of(rooms, spec.group or "", spec)
    if row["state"] in jobs.EDITABLE:
        await _edit_waiting(rooms, person, row, spec, limit=limit, changed=sorted(changes))
    elif row["state"] in _LIVE and set(changes) <= {"time_limit", "priority"}:
        if "priority" in changes:
            await rooms.control.reprioritise(job, spec.priority, person.name)
        if "time_limit" in changes:
            await rooms.control.extend(job, limit, person.name)
    elif row["state"] in _LIVE:
        sentence = "only its time limit and priority can be changed now; suspend it to change more"
        raise Refusal(409, f"{job} is {row['state']}: {sentence}", "state")
    else:
        raise Refusal(409, f"{job} is {row['state']}; what has ended cannot be edited", "state")
    return await _view(rooms, person, job)


async def _edit_waiting(
    rooms: Rooms, person: Person, row: jobs.JobRow, spec: JobSpec, *, limit: int, changed: list[str]
) -> None:
    async def unit(t: Transaction) -> bool:
        await check_secrets(t, row["owner"], spec.group or "", set(secret_names(spec)))
        if "after" in changed:
            await check_after(t, person, spec.after, row["id"])
        return await jobs.edit(t, row, spec, time_limit=limit, actor=person.name, changed=changed)

    if not await rooms.database.write(unit):
        raise Refusal(409, f"{row['id']} changed meanwhile; look at it and try again", "state")
    rooms.control.wake()


def _changed(old: JobSpec, changes: dict[str, Any]) -> JobSpec:
    try:
        return JobSpec.model_validate({**old.model_dump(by_alias=True, mode="json"), **changes})
    except ValidationError as error:
        raise Refusal(422, explain_validation(error)) from None


async def _change(
    rooms: Rooms, person: Person, job: str, verb: Callable[[str, str], Awaitable[None]]
) -> Response:
    await _changeable_job(rooms, person, job)
    await verb(job, person.name)
    return await _view(rooms, person, job)


@router.post("/{job}/cancel", response_model=JobView)
async def cancel(job: JobId, rooms: In, person: Submitter) -> Response:
    """Stop a job for good: checkpoint signal, grace, end."""
    return await _change(rooms, person, job, rooms.control.cancel)


@router.post("/{job}/suspend", response_model=JobView)
async def suspend(job: JobId, rooms: In, person: Submitter) -> Response:
    """Stop a job until it is resumed."""
    return await _change(rooms, person, job, rooms.control.suspend)


@router.post("/{job}/resume", response_model=JobView)
async def resume(job: JobId, rooms: In, person: Submitter) -> Response:
    """Let a suspended job wait in line again."""
    return await _change(rooms, person, job, rooms.control.resume)


@router.delete("/{job}", status_code=204)
async def delete(job: JobId, rooms: In, person: Submitter) -> None:
    """Delete a job that has ended, its logs, and its references to blobs."""
    await _changeable_job(rooms, person, job)
    if not await deleted(rooms, job, person.name):
        raise Refusal(409, f"{job} has not ended; stop it first", "state")


async def deleted(rooms: Rooms, job: str, actor: str | None) -> bool:
    """Delete a job and its files; False if it has not ended."""
    gone = await rooms.database.write(lambda t: jobs.delete_finished(t, job, actor))
    if gone is None:
        return False
    for attempt in gone.attempts:
        rooms.logs.remove(attempt)
    rooms.metrics.remove(job)
    rooms.control.forget(gone.owner, gone.jobs)
    return True


@router.get("/{job}/why")
async def why(job: JobId, rooms: In, person: Caller) -> Why:
    """Why a job waits, runs as it does, or ended as it did."""
    return await explain(rooms, person, await visible_job(rooms, person, job))


@router.get("/{job}/result", response_model=JobResult)
async def result(job: JobId, rooms: In, person: Caller) -> Response:
    """What the last attempt left behind."""
    row = await visible_job(rooms, person, job)
    async with rooms.database.read() as connection:
        found = await views.result(connection, row)
    if found is None:
        ended = JobState(row["state"]) in JOB_FINAL
        sentence = "left no result" if ended else f"is {row['state']}; its result comes at its end"
        raise Refusal(409, f"{job} {sentence}", "no_result")
    return json_of(found)


@router.get("/{job}/metrics")
async def metrics(
    job: JobId, rooms: In, person: Caller, after: Annotated[int, Query(ge=0)] = 0
) -> MetricsPage:
    """Points that a job reported, from a byte offset on."""
    await visible_job(rooms, person, job)
    points, following = await rooms.metrics.read(job, after)
    return MetricsPage(points=points, next=following)


@router.get("/{job}/events")
async def timeline(job: JobId, rooms: In, person: Caller) -> list[Event]:
    """What happened to a job, in order."""
    await visible_job(rooms, person, job)
    async with rooms.database.read() as connection:
        return await events.timeline(connection, job)

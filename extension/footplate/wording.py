"""How jobs, quotas and nodes read: rows and sentences, pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from footplate_spec import (
    JOB_FINAL,
    ArrayCounts,
    BudgetUse,
    EtaAccuracy,
    JobSummary,
    Node,
    QuotaUse,
    ReasonCode,
    Why,
)
from footplate_spec.units import format_bytes, format_cpu, format_seconds

__all__ = [
    "accuracy_sentence",
    "amount",
    "array_words",
    "duration",
    "job_rows",
    "node_rows",
    "quota_rows",
    "size",
    "state_word",
    "waiting_sentence",
    "waits_for",
]

Rows = tuple[Sequence[str], list[list[str]]]


def size(count: int) -> str:
    """Bytes as people write them: ``12.4 KiB``."""
    text = format_bytes(count)
    return f"{text[:-2]} {text[-2:]}B" if text.endswith("i") else f"{text} B"


def accuracy_sentence(eta: EtaAccuracy) -> str:
    """How true the foretold start times were."""
    if not eta.settled or eta.median_error is None or eta.median_width is None:
        return f"No foretold start has come true yet; {eta.open} jobs wait with a range."
    off, width = format_seconds(eta.median_error), format_seconds(eta.median_width)
    return (
        f"{eta.inside / eta.settled:.0%} of {eta.settled} starts were inside their range, {eta.early} before "
        f"it, {eta.late} after it; half were within {off} of its middle, half of the ranges were at most "
        f"{width} wide; {eta.open} still wait."
    )


def state_word(job: JobSummary) -> str:
    """The state, and whether the job is on its way out of it."""
    return f"{job.state} (stopping)" if job.stopping and job.state not in JOB_FINAL else str(job.state)


def duration(job: JobSummary, now: datetime | None = None) -> str:
    """How long it has run, or how long it has waited."""
    end = job.ended or now or datetime.now(UTC)
    begin = job.started or job.submitted
    return format_seconds((end - begin).total_seconds())


def waits_for(job: JobSummary) -> str:
    """Why it waits; nothing where the queue has yet to look at it, which takes no time worth a word."""
    if job.reason is None or job.reason.code == ReasonCode.PENDING_EVALUATION:
        return ""
    return job.reason.message


def waiting_sentence(why: Why) -> str:
    """Position and reason of a job that waits, and the cheapest change that would start it now."""
    place = f"position {why.position}" if why.position else "waiting"
    reason = why.reason.message if why.reason else why.sentence
    now = next((fix.sentence for fix in why.fixes if fix.start is None), None)
    return f"{place}: {reason}" + (f" ({now})" if now else "")


def amount(value: int | None, resource: str) -> str:
    """An amount of a resource in its own unit."""
    if value is None:
        return "no limit"
    if resource == "cpu":
        return format_cpu(value)
    return format_bytes(value) if resource == "memory" else str(value)


def array_words(array: ArrayCounts) -> str:
    """How far an array has come: ``12 of 20 done, 1 failed, 4 run``."""
    done = array.succeeded + array.failed + array.cancelled
    told = [f"{done} of {array.size} done"]
    told += [f"{count} {word}" for count, word in ((array.failed, "failed"), (array.running, "run")) if count]
    return ", ".join(told)


def job_rows(jobs: Sequence[JobSummary]) -> Rows:
    """Columns and rows of a list of jobs."""
    rows = []
    for job in jobs:
        note = waits_for(job)
        if job.cause and not note:
            note = f"{job.cause.code}: {job.cause.message}"
        gpus = f"{job.gpu} (declared)" if job.declared and job.gpu else str(job.gpu)
        if job.array is not None:
            note = f"{array_words(job.array)}{'; ' if note else ''}{note}"
        rows.append([job.id, state_word(job), job.owner, job.group, gpus, duration(job), note])
    return ("job", "state", "owner", "group", "GPUs", "for", "why"), rows


def quota_rows(uses: Sequence[QuotaUse], budgets: Sequence[BudgetUse] = ()) -> Rows:
    """Columns and rows of quotas, one for each resource that is limited or in use; then of budgets."""
    rows: list[list[str]] = []
    for use in uses:
        place, held = f"{use.cluster}/{use.flavor}", use.held or ""
        shown = len(rows)
        for resource in ("gpu", "cpu", "memory"):
            limit = use.limit.get(resource)
            used, queued = getattr(use.used, resource), getattr(use.queued, resource)
            if limit is not None or used or queued:
                rows.append(
                    [
                        use.group,
                        place,
                        resource,
                        _used(use, resource),
                        _limit(use, resource),
                        amount(queued, resource),
                        held,
                    ]
                )
        if held and len(rows) == shown:
            rows.append([use.group, place, "", "", "", "", held])
    rows += [row for budget in budgets for row in _budget_rows(budget)]
    return ("group", "flavor", "of", "used", "limit", "queued", "note"), rows


def _budget_rows(budget: BudgetUse) -> Iterator[list[str]]:
    renews = f"renews {budget.renews.day} {budget.renews:%B %Y}"
    for unit, amount in (("GPU-hours", budget.gpu_hours), (budget.currency or "", budget.cost)):
        if amount is not None:
            reserved = f" ({amount.reserved:.1f} reserved)" if amount.reserved else ""
            used = f"{amount.used:.1f}{reserved}"
            yield [budget.group, "", f"{unit} a {budget.period}", used, f"{amount.limit:g}", "", renews]


def _used(use: QuotaUse, resource: str) -> str:
    """What is in use, and how much of it is beyond the group's own."""
    borrowed = getattr(use.borrowed, resource)
    more = f" ({amount(borrowed, resource)} borrowed)" if borrowed else ""
    return amount(getattr(use.used, resource), resource) + more


def _limit(use: QuotaUse, resource: str) -> str:
    """The group's own, and what it may have with what others lend."""
    own, most = use.limit.get(resource), use.most.get(resource)
    more = f" (at most {amount(most, resource)})" if most is not None and most != own else ""
    return amount(own, resource) + more


def node_rows(nodes: Sequence[Node]) -> Rows:
    """Columns and rows of nodes."""
    rows = []
    for node in nodes:
        word = "draining" if node.draining else "blocked"
        state = f"{word}: {node.blocked}" if node.blocked else "ready" if node.ready else "not ready"
        gpus = f"{node.used_gpu} of {node.gpu}" + (" (declared)" if node.declared and node.gpu else "")
        rows.append(
            [
                f"{node.cluster}/{node.name}",
                node.flavor,
                gpus,
                f"{format_cpu(node.used_cpu)} of {format_cpu(node.cpu)}",
                f"{format_bytes(node.used_memory)} of {format_bytes(node.memory)}"
                + (" (watched)" if node.advisory else ""),
                state,
            ]
        )
    return ("node", "flavor", "GPUs", "cores", "memory", "state"), rows

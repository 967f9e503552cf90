"""What a replay says: waits, use, fragmentation, preemptions, and how well starts were foretold."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

from .load import offered
from .replay import Moment, Replayed
from .trace import TraceError
from .world import Job

__all__ = ["GANG", "Foretold", "Report", "Waits", "quantile", "report"]

GANG = 8  # GPUs: from here on a job is counted among the large gangs


@dataclass(frozen=True)
class Waits:
    """Seconds from submission to the first start, of ``jobs`` jobs."""

    jobs: int
    mean: float
    p50: float
    p95: float
    longest: float


@dataclass(frozen=True)
class Foretold:
    """ETA ranges given at submission, and what came true.

    Parameters
    ----------
    given, unknown
        How many were given, and how many times the answer was that it is not known.
    covered
        Share of outcomes inside their range; 0.8 is right.
    early, late
        Share that started before, and after, the range.
    median_error
        Median of the distance from the start to the middle of the range, in seconds.
    median_width
        Median of the ranges' width in seconds.
    """

    given: int = 0
    unknown: int = 0
    covered: float = 0.0
    early: float = 0.0
    late: float = 0.0
    median_error: float = 0.0
    median_width: float = 0.0


@dataclass(frozen=True)
class Report:
    """All numbers of one replay.

    Parameters
    ----------
    utilisation
        GPU time used over GPU time there was, between the first and the last submission.
    fragmentation
        Share of the free GPU time in that window that was on nodes partly in use.
    goodput
        As utilisation, without the work that preemptions and lost nodes undid.
    waiting_by_reason
        Hours waited, over all jobs, by the reason that they were given.
    never
        Jobs that never started, by their last reason.
    """

    policy: str
    jobs: int
    nodes: int
    gpus: int
    load: float | None
    waits: Waits
    gang_waits: Waits
    utilisation: float
    goodput: float
    fragmentation: float
    makespan: float
    preemptions: int
    lost_gpu_hours: float
    over_limit: int
    passes: int
    waiting_by_reason: dict[str, float] = field(default_factory=dict)
    never: dict[str, int] = field(default_factory=dict)
    eta: Foretold | None = None
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def report(result: Replayed, eta: Foretold | None = None) -> Report:
    """Count."""
    trace = result.trace
    jobs = list(result.jobs.values())
    used, free, stranded, there = _areas(result)
    lost = sum(job.lost for job in jobs)
    try:
        load = offered(trace)
    except TraceError:
        load = None
    return Report(
        policy=result.policy.order + ("" if result.policy.backfill else ", no backfill"),
        jobs=len(jobs),
        nodes=len(trace.nodes),
        gpus=trace.gpus,
        load=load,
        waits=_waits(jobs, result.ended),
        gang_waits=_waits((job for job in jobs if job.trace.gpus >= GANG), result.ended),
        utilisation=used / there if there else 0.0,
        goodput=max(used - lost, 0.0) / there if there else 0.0,
        fragmentation=stranded / free if free else 0.0,
        makespan=result.ended - trace.jobs[0].submit,
        preemptions=sum(job.preempted for job in jobs),
        lost_gpu_hours=lost / 3600,
        over_limit=sum(job.over_limit for job in jobs),
        passes=result.passes,
        waiting_by_reason={code: time / 3600 for code, time in result.reasons.most_common() if time > 0},
        never=dict(Counter(result.never.values())),
        eta=eta,
        notes=trace.notes,
    )


def _areas(result: Replayed) -> tuple[float, float, float, float]:
    """GPU-seconds used, free, stranded and there, between the first and the last submission."""
    begins, ends = result.trace.jobs[0].submit, result.trace.jobs[-1].submit
    if ends <= begins:
        ends = result.ended
    used = free = stranded = 0.0
    for moment, after in _spans(result.moments, result.ended):
        time = min(after, ends) - max(moment.time, begins)
        if time > 0:
            used += time * moment.used_gpus
            free += time * moment.free_gpus
            stranded += time * moment.stranded_gpus
    return used, free, stranded, (ends - begins) * result.trace.gpus


def _spans(moments: Sequence[Moment], ended: float) -> Iterable[tuple[Moment, float]]:
    return zip(moments, [*(moment.time for moment in moments[1:]), ended], strict=True)


def _waits(jobs: Iterable[Job], ended: float) -> Waits:
    """One that never started has waited until the end."""
    waits = sorted((ended if job.first is None else job.first) - job.trace.submit for job in jobs)
    if not waits:
        return Waits(0, 0.0, 0.0, 0.0, 0.0)
    return Waits(
        len(waits), math.fsum(waits) / len(waits), quantile(waits, 0.5), quantile(waits, 0.95), waits[-1]
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of all do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]

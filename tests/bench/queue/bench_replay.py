"""A public trace, loaded to 0.9 and 1.1, replayed through the queue and through other schedulers.

Traces lie in ``$FOOTPLATE_TRACES``, by default in ``../shared/data``.
"""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.report import Result, percentile
from footplate_hub.queue.model import Policy
from footplate_hub.simulate.foretell import Foreteller
from footplate_hub.simulate.load import cut
from footplate_hub.simulate.reading import read
from footplate_hub.simulate.replay import replay
from footplate_hub.simulate.trace import Trace

from .rivals import RIVALS, Ran, run

__all__ = ["BENCHES"]

LOADS = (0.9, 1.1)
GANG = 8
SPEED = 5000
_NAMES = ("replay_speed", "gang_wait_p95", "utilisation", "eta_coverage")


@dataclass(frozen=True)
class Numbers:
    """What is compared, all in seconds but utilisation."""

    mean_wait: float
    wait_p95: float
    gang_wait_p95: float
    utilisation: float
    makespan: float


def numbers(trace: Trace, ran: Ran) -> Numbers:
    """Count, for every scheduler alike."""
    waits = [ran.started.get(job.id, math.inf) - job.submit for job in trace.jobs]
    gangs = [ran.started.get(job.id, math.inf) - job.submit for job in trace.jobs if job.gpus >= GANG]
    begins, ends = trace.jobs[0].submit, trace.jobs[-1].submit
    used = sum(
        max(0.0, min(ran.ended[job.id], ends) - ran.started[job.id]) * job.gpus
        for job in trace.jobs
        if job.id in ran.ended
    )
    return Numbers(
        mean_wait=sum(waits) / len(waits),
        wait_p95=percentile(waits, 0.95),
        gang_wait_p95=percentile(gangs, 0.95),
        utilisation=used / ((ends - begins) * trace.gpus),
        makespan=max(ran.ended.values()) - begins,
    )


@functools.cache
def _trace() -> Trace | None:
    folder = Path(os.environ.get("FOOTPLATE_TRACES", Path(__file__).parents[4] / "shared" / "data"))
    pods = folder / "openb_pods.csv"
    return read(pods) if pods.exists() else None


def replay_benches() -> Iterator[Result]:
    """All numbers of both loads."""
    whole = _trace()
    if whole is None:
        for name in _NAMES:
            yield Result(
                name, None, "", "on the openb trace", None, why="no openb_pods.csv in $FOOTPLATE_TRACES"
            )
        return
    for load in LOADS:
        yield from _at(cut(whole, load), load)


def _at(trace: Trace, load: float) -> Iterator[Result]:
    # Alone, as the goal is of the replay; forecasts are measured in a second one.
    began = time.perf_counter()
    result = replay(trace, Policy())
    took = time.perf_counter() - began
    ours = numbers(
        trace,
        Ran(
            {id_: job.first for id_, job in result.jobs.items() if job.first is not None},
            {id_: job.ended for id_, job in result.jobs.items() if job.ended is not None},
        ),
    )
    speed = result.ended / took
    yield Result(f"replay_speed_{load}", speed, "× real time", f"≥ {SPEED} at full reasons", speed >= SPEED)
    theirs = {name: numbers(trace, run(trace, policy)) for name, policy in RIVALS.items()}
    yield from _compared(load, ours, theirs)
    foreteller = Foreteller()
    replay(trace, Policy(), watch=foreteller)
    eta = foreteller.counted()
    yield Result(
        f"eta_coverage_{load}",
        eta.covered,
        "share",
        "0.75 to 0.85 of outcomes inside their range",
        0.75 <= eta.covered <= 0.85,
        why=f"{eta.given} ranges, {eta.unknown} not known, {eta.early:.3f} early, {eta.late:.3f} late",
    )


def _compared(load: float, ours: Numbers, theirs: dict[str, Numbers]) -> Iterator[Result]:
    best = min(theirs, key=lambda name: theirs[name].gang_wait_p95)
    yield Result(
        f"gang_wait_p95_{load}",
        ours.gang_wait_p95,
        "s",
        f"of gangs of {GANG} GPUs and more: never worse than the best rival",
        ours.gang_wait_p95 <= theirs[best].gang_wait_p95,
        best,
        theirs[best].gang_wait_p95,
    )
    best = max(theirs, key=lambda name: theirs[name].utilisation)
    yield Result(
        f"utilisation_{load}",
        ours.utilisation,
        "share",
        "never worse than the best rival",
        round(ours.utilisation, 4) >= round(theirs[best].utilisation, 4),
        best,
        theirs[best].utilisation,
    )
    for rival, their in theirs.items():
        for name in ("mean_wait", "wait_p95", "gang_wait_p95", "makespan", "utilisation"):
            unit = "share" if name == "utilisation" else "s"
            mine, other = getattr(ours, name), getattr(their, name)
            yield Result(f"{name}_{load}", mine, unit, "beside the others", None, rival, other)


BENCHES = [replay_benches]

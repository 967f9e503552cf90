"""``why`` and ``check``, fixes included, in a large world after a pass."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

from bench.queue.crowd import NOW, carried_out, crowd
from bench.report import Result, percentile
from footplate_hub.queue.advise import Advisor
from footplate_hub.queue.changes import Freedom
from footplate_hub.queue.model import Workload
from footplate_hub.queue.schedule import Pass

__all__ = ["BENCHES"]

ASKED = 300
FREEDOM = Freedom(groups=("g1", "g2", "g3"), split=True)


def asked() -> Iterator[Result]:
    """The 99th percentile of both, for workloads drawn from all that stay."""
    world = crowd()
    while (plan := (current := Pass(world, NOW)).plan()).admit:
        world = carried_out(world, plan)
    waiting = [w for line in world.lines for w in line.workloads]
    some = random.Random(7).sample(waiting, ASKED)
    advisor = current.advisor()
    yield _p99("queue_why_fixes_p99", some, lambda w: advisor.fixes(w, FREEDOM))
    yield _p99("queue_check_p99", some, lambda w: _check(advisor, w))


def _check(advisor: Advisor, workload: Workload) -> None:
    verdict = advisor.check(workload)
    if verdict.starts != "now":
        advisor.fixes(workload, FREEDOM, verdict=verdict)


def _p99(name: str, workloads: list[Workload], ask: Callable[[Workload], object]) -> Result:
    took = []
    for workload in workloads:
        begin = time.perf_counter()
        ask(workload)
        took.append((time.perf_counter() - begin) * 1000)
    value = percentile(took, 0.99)
    return Result(name, round(value, 1), "ms", "at most 50 ms", value <= 50)


BENCHES = [asked]

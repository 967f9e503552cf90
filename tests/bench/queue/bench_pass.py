"""Passes over large worlds that are nearly full: cold, warm, with and without codes, and how they grow."""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import psutil

from bench.queue.crowd import NOW, carried_out, crowd
from bench.report import Result
from footplate_hub.queue.memory import Memory
from footplate_hub.queue.model import Snapshot
from footplate_hub.queue.schedule import schedule

EVENTS = 20


@cache
def _settled(workloads: int, nodes: int, groups: int) -> Snapshot:
    """The world once all that can start runs."""
    snapshot = crowd(workloads, nodes, groups)
    while (plan := schedule(snapshot, NOW)).admit:
        snapshot = carried_out(snapshot, plan)
    return snapshot


def passes() -> Iterator[Result]:
    """One cold and many warm passes, each after one attempt ended."""
    snapshot = _settled(60_000, 5_000, 500)
    gc.collect()
    gc.freeze()
    cold = _seconds(lambda: schedule(snapshot, NOW))
    yield Result("queue_cold_pass", cold * 1000, "ms", "at most 1,000 ms", cold <= 1)
    told = _seconds(lambda: schedule(snapshot, NOW).blocked.positions)
    yield Result(
        "queue_pass_with_codes_and_positions",
        told * 1000,
        "ms",
        "at most 1.3 × the pass alone",
        told <= 1.3 * cold,
        "the pass alone",
        cold * 1000,
    )
    warm = _warm(snapshot)
    yield Result("queue_warm_pass", warm * 1000, "ms", "at most 50 ms", warm <= 0.05)
    used = psutil.Process().memory_info().rss  # of all: the world, the memory, and what ran before
    yield Result("queue_memory", used / 2**20, "MiB", "at most 400 MB", used <= 400e6)


def reclaim() -> Iterator[Result]:
    """The same where all that runs may be stopped, and many wait for what others have borrowed from them."""
    snapshot = _settled(60_000, 5_000, 500)
    running = tuple(replace(attempt, preemptible=True) for attempt in snapshot.running)
    snapshot = replace(snapshot, running=running)
    began = time.perf_counter()
    plan = schedule(snapshot, NOW)
    seconds = time.perf_counter() - began
    assert plan.preempt
    yield Result("queue_reclaim_pass", seconds, "s", "", None)


def growth() -> Iterator[Result]:
    """Exponents: workloads from 6,000 to 60,000, nodes from 500 to 5,000."""
    for axis, small in (("workloads", (6_000, 5_000, 500)), ("nodes", (60_000, 500, 500))):
        few, many = _settled(*small), _settled(60_000, 5_000, 500)
        exponent = math.log10(
            _seconds(lambda s=many: schedule(s, NOW)) / _seconds(lambda s=few: schedule(s, NOW))
        )
        yield Result(f"queue_growth_with_{axis}", exponent, "exponent", "at most 1.15", exponent <= 1.15)


def _warm(snapshot: Snapshot) -> float:
    memory = Memory()
    schedule(snapshot, NOW, memory)
    rng = random.Random(3)
    times = []
    for event in range(EVENTS):
        gone = rng.randrange(len(snapshot.running))
        running = snapshot.running[:gone] + snapshot.running[gone + 1 :]
        snapshot = replace(snapshot, running=running)
        now = NOW + event
        began = time.perf_counter()
        plan = schedule(snapshot, now, memory)
        times.append(time.perf_counter() - began)
        snapshot = carried_out(snapshot, plan)
    return sorted(times)[len(times) // 2]


def _seconds(run: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


BENCHES = (passes, reclaim, growth)

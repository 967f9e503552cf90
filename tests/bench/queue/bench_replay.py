"""A public trace, loaded to 0.9 and 1.1, replayed through the queue and through other schedulers.

Traces lie in ``$FOOTPLATE_TRACES``, by default in ``../shared/data``.
"""

from __future__ import annotations

import functools
import math
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.peers import SlurmJob, slurm_starts
from bench.report import Result, percentile
from footplate_hub.queue.model import Amount, NodeModel, Plan, Policy, RoleShape, Snapshot
from footplate_hub.simulate.foretell import Foreteller
from footplate_hub.simulate.load import cut
from footplate_hub.simulate.openb import read_nodes, read_pods
from footplate_hub.simulate.replay import Replayed, Watcher, replay
from footplate_hub.simulate.trace import Trace, TraceJob, one_role
from footplate_hub.simulate.world import Job

from .rivals import RIVALS, Ran, run

__all__ = ["BENCHES"]

LOADS = (0.9, 1.1)
SEEDS = (0, 1, 2)
GANG = 8
SPEED = 5000
GOALS = ("replay_speed", "gang_wait_p95", "utilisation", "eta_coverage")
NAMES = ("mean_wait", "wait_p95", "gang_wait_p95", "gang_wait_longest", "makespan", "utilisation")


@dataclass(frozen=True)
class Numbers:
    """What is compared, all in seconds but utilisation."""

    mean_wait: float
    wait_p95: float
    gang_wait_p95: float
    gang_wait_longest: float
    utilisation: float
    makespan: float


def numbers(played: Sequence[tuple[Trace, Ran]]) -> Numbers:
    """Count, for every scheduler alike; several replays together."""
    waits, gangs, used, there, makespans = [], [], 0.0, 0.0, []
    for trace, ran in played:
        wait = {job.id: ran.started.get(job.id, math.inf) - job.submit for job in trace.jobs}
        waits += wait.values()
        gangs += [wait[job.id] for job in trace.jobs if job.gpus >= GANG]
        begins, ends = trace.jobs[0].submit, trace.jobs[-1].submit
        used += sum(
            max(0.0, min(ran.ended[job.id], ends) - ran.started[job.id]) * job.gpus
            for job in trace.jobs
            if job.id in ran.ended
        )
        there += (ends - begins) * trace.gpus
        makespans.append(max(ran.ended.values()) - begins)
    return Numbers(
        mean_wait=sum(waits) / len(waits),
        wait_p95=percentile(waits, 0.95),
        gang_wait_p95=percentile(gangs, 0.95),
        gang_wait_longest=max(gangs),
        utilisation=used / there,
        makespan=sum(makespans) / len(makespans),
    )


@functools.cache
def _traces() -> list[Trace]:
    """One for each seed: where the few largest and longest jobs fall decides much."""
    folder = Path(os.environ.get("FOOTPLATE_TRACES", Path(__file__).parents[4] / "shared" / "data"))
    pods, nodes = folder / "openb_pods.csv", folder / "openb_nodes.csv"
    if not (pods.exists() and nodes.exists()):
        return []
    # No pod of this trace asks for a kind of GPU, so that all nodes are of one kind to all schedulers alike.
    alike = tuple(replace(node, flavor="gpu") for node in read_nodes(nodes).nodes)
    return [replace(read_pods(pods, seed), nodes=alike) for seed in SEEDS]


def replay_benches() -> Iterator[Result]:
    """All numbers of both loads."""
    traces = _traces()
    if not traces:
        why = "no openb_pods.csv and openb_nodes.csv in $FOOTPLATE_TRACES"
        for name in GOALS:
            yield Result(name, None, "", "on the openb trace", None, why=why)
        return
    for load in LOADS:
        yield from _at([cut(trace, load, seed) for seed, trace in zip(SEEDS, traces, strict=True)], load)


def _at(traces: Sequence[Trace], load: float) -> Iterator[Result]:
    foretellers = [Foreteller() for _ in traces]
    began = time.perf_counter()
    results = [replay(t, Policy(), watch=_told(f)) for t, f in zip(traces, foretellers, strict=True)]
    speed = sum(result.ended for result in results) / (time.perf_counter() - began)
    goal = f"≥ {SPEED} at full reasons, with ETAs"
    yield Result(f"replay_speed_{load}", speed, "× real time", goal, speed >= SPEED)
    ours = numbers([(trace, _ran(result)) for trace, result in zip(traces, results, strict=True)])
    theirs = {
        name: numbers([(trace, run(trace, policy)) for trace in traces]) for name, policy in RIVALS.items()
    }
    yield from _compared(load, ours, theirs)
    outcomes = [outcome for foreteller in foretellers for outcome in foreteller.outcomes]
    covered = sum(outcome.inside for outcome in outcomes) / len(outcomes)
    each = ", ".join(f"{foreteller.counted().covered:.3f}" for foreteller in foretellers)
    yield Result(
        f"eta_coverage_{load}",
        covered,
        "share",
        "0.75 to 0.85 of outcomes inside their range",
        0.75 <= covered <= 0.85,
        why=f"{len(outcomes)} ranges, {sum(f.unknown for f in foretellers)} not known; by seed {each}",
    )


def _told(foreteller: Foreteller) -> Watcher:
    """Every reason of every pass is put into words, as if everybody asked."""

    def watch(snapshot: Snapshot, plan: Plan, now: float, *jobs: list[Job]) -> None:
        assert all(blocked.reason.message for blocked in plan.blocked)
        foreteller(snapshot, plan, now, *jobs)

    return watch


def _ran(result: Replayed) -> Ran:
    return Ran(
        {id_: job.first for id_, job in result.jobs.items() if job.first is not None},
        {id_: job.ended for id_, job in result.jobs.items() if job.ended is not None},
    )


def _compared(load: float, ours: Numbers, theirs: dict[str, Numbers]) -> Iterator[Result]:
    best = min(theirs, key=lambda name: theirs[name].gang_wait_p95)
    yield Result(
        f"gang_wait_p95_{load}",
        ours.gang_wait_p95,
        "s",
        f"of gangs of {GANG} GPUs and more: never worse than the best rival (to 1 %)",
        ours.gang_wait_p95 <= 1.01 * theirs[best].gang_wait_p95,
        best,
        theirs[best].gang_wait_p95,
    )
    best = max(theirs, key=lambda name: theirs[name].utilisation)
    yield Result(
        f"utilisation_{load}",
        ours.utilisation,
        "share",
        "never worse than the best rival (to 1 %)",
        ours.utilisation >= 0.99 * theirs[best].utilisation,
        best,
        theirs[best].utilisation,
    )
    for rival, their in theirs.items():
        for name in NAMES:
            unit = "share" if name == "utilisation" else "s"
            mine, other = getattr(ours, name), getattr(their, name)
            yield Result(f"{name}_{load}", mine, unit, "beside the others", None, rival, other)


SAMPLE = 40  # jobs
SAMPLE_GPUS = 16


def _sample() -> list[SlurmJob]:
    """Jobs of a few seconds with the sizes of a loaded cluster's; Slurm's limits are whole minutes."""
    chance = random.Random(0)
    submit, jobs = 0.0, []
    for _ in range(SAMPLE):
        gpus = chance.choices((1, 2, 4, 8, 16), (6, 3, 3, 3, 1))[0]
        duration = round(min(max(chance.lognormvariate(1.2, 0.7), 1.0), 12.0), 1)
        jobs.append(SlurmJob(round(submit, 1), duration, chance.choice((1, 1, 2)), gpus))
        submit += gpus * duration / SAMPLE_GPUS / 1.1  # an offered load of 1.1
    return jobs


def slurm_benches() -> Iterator[Result]:
    """The same jobs through Slurm in real time, and through the pass in simulated time."""
    jobs = _sample()
    node = NodeModel("trace", "n", "gpu", Amount(SAMPLE_GPUS * 1000, 0, SAMPLE_GPUS))
    trace = Trace(
        tuple(
            TraceJob(
                id=f"{number:02}",
                submit=job.submit,
                duration=job.duration,
                shape=one_role(RoleShape("worker", 1, Amount(job.gpus * 1000, 0, job.gpus))),
                time_limit=job.minutes * 60,
            )
            for number, job in enumerate(jobs)
        ),
        (node,),
    )
    ours = numbers([(trace, _ran(replay(trace, Policy())))])
    starts, why = slurm_starts(jobs, SAMPLE_GPUS)
    theirs = None
    if starts is not None:
        begun = {job.id: start for job, start in zip(trace.jobs, starts, strict=True)}
        ended = {job.id: begun[job.id] + job.duration for job in trace.jobs}
        theirs = numbers([(trace, Ran(begun, ended))])
    for name, unit, sign in (("gang_wait_p95", "s", 1), ("utilisation", "share", -1)):
        mine = getattr(ours, name)
        other = None if theirs is None else getattr(theirs, name)
        yield Result(
            f"{name}_sample",
            mine,
            unit,
            f"{SAMPLE} jobs on {SAMPLE_GPUS} GPUs: not worse than Slurm in real time",
            None if other is None else sign * mine <= sign * other,
            "Slurm",
            other,
            why,
        )


BENCHES = [replay_benches, slurm_benches]

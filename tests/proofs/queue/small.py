"""All small worlds: up to 4 nodes and 5 workloads, GPU ∈ {1, 2, 4, 8}, 2 groups, 2 priorities.

A world is a multiset of nodes and a sequence of workloads of which the first few come first, are scheduled
and run; then the others come. Equal worlds are made once: nodes have no names that matter, the two groups
are alike (the first workload is in ``a``), and within those that come together only the order of rank
counts, so their priorities never rise. A world with a workload that fits nowhere, or a node that is of use to
nobody, is a smaller world and left out (with one workload, none is).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from footplate_hub.queue.model import Amount, GroupModel, Limit, NodeModel, Quota, RoleShape, Shape, Workload

from .ledger import Chunk
from .story import Story
from .verdict import judge

__all__ = ["Family", "begin", "families", "live", "prove", "sequences"]

GPUS = (1, 2, 4, 8)
SINGLE = tuple((1, gpu) for gpu in GPUS)
GANGS = ((2, 1), (2, 2), (2, 4), (4, 1))
LIMITS = (100, 300, 0)


@dataclass(frozen=True)
class Family:
    """Worlds that differ in their workloads alone: one chunk of the proof."""

    nodes: tuple[int, ...]
    workloads: int
    first: int
    gangs: bool
    quotas: bool

    @property
    def name(self) -> str:
        """Names the chunk."""
        kind = ("gangs" if self.gangs else "single") + ("+quotas" if self.quotas else "")
        return (
            f"{self.workloads} workloads, {self.first} first, {kind}, nodes {'+'.join(map(str, self.nodes))}"
        )


def families(workloads: int) -> Iterator[Family]:
    """All with so many workloads, the smallest first."""
    for count in range(1, 5):
        for nodes in itertools.combinations_with_replacement(GPUS, count):
            for first in range(1, workloads + 1):
                for gangs, quotas in itertools.product((False, True), repeat=2):
                    yield Family(nodes, workloads, first, gangs, quotas)


def prove(family: Family) -> Chunk:
    """Judge every pass of every world of a family."""
    chunk = Chunk()
    begun: dict[tuple[Workload, ...], Story] = {}
    for number, workloads in enumerate(sequences(family)):
        first = tuple(workloads[: family.first])
        if first not in begun:
            begun[first] = begin(chunk, family, first)
        live(chunk, f"{family.name} #{number}", begun[first].copy(), workloads[family.first :])
    return chunk


def begin(chunk: Chunk, family: Family, first: Sequence[Workload]) -> Story:
    """Judge the pass over those who come first; what it starts runs."""
    story = Story(_nodes(family), _groups(family))
    story.submit(first)
    snapshot, plan = story.step()
    judge(chunk, f"{family.name}, {[(w.shape.total.gpu, w.group) for w in first]}", snapshot, story.now, plan)
    return story


def live(chunk: Chunk, name: str, story: Story, later: Sequence[Workload]) -> None:
    """Judge the pass over the others, and one more when those told to stop are gone."""
    chunk.counts["worlds"] += 1
    if not later:
        return
    story.submit(later)
    snapshot, plan = story.step()
    judge(chunk, name, snapshot, story.now, plan)
    leaving = [attempt.id for attempt in story.running.values() if attempt.stopping]
    if leaving:
        for victim in leaving:
            story.leave(victim)
        stopped_for = {preemption.workload for preemption in plan.preempt}
        snapshot, plan = story.step()
        judge(chunk, name, snapshot, story.now, plan)
        for preemptor in stopped_for - set(story.running):
            chunk.found("violated: others were stopped for it and it did not start", f"{name}: {preemptor}")


def _nodes(family: Family) -> tuple[NodeModel, ...]:
    return tuple(
        NodeModel("east", f"n{number}", "gpu", Amount(64000, 64, gpus))
        for number, gpus in enumerate(family.nodes)
    )


def _groups(family: Family) -> dict[str, GroupModel]:
    if not family.quotas:
        return {}
    half = Quota(nominal=Limit(gpu=(sum(family.nodes) + 1) // 2))
    return {name: GroupModel(name, {("east", "gpu"): half}) for name in ("a", "b")}


def sequences(family: Family) -> Iterator[list[Workload]]:
    """Its worlds, each once."""
    shapes = GANGS if family.gangs else SINGLE
    later = family.workloads - family.first
    for asked in itertools.product(shapes, repeat=family.workloads):
        if not _irreducible(family.nodes, asked):
            continue
        for groups in itertools.product("ab", repeat=family.workloads - 1):
            for high, higher in itertools.product(range(family.first + 1), range(later + 1)):
                priorities = [1] * high + [0] * (family.first - high)
                priorities += [1] * higher + [0] * (later - higher)
                yield [
                    _workload(number, replicas, gpus, group, priority)
                    for number, ((replicas, gpus), group, priority) in enumerate(
                        zip(asked, ("a", *groups), priorities, strict=True)
                    )
                ]


def _irreducible(nodes: Sequence[int], asked: Sequence[tuple[int, int]]) -> bool:
    """Every workload could start on empty nodes, and every node is of use to one."""
    fit = all(sum(node // gpus for node in nodes) >= replicas for replicas, gpus in asked)
    return len(asked) == 1 or (fit and min(nodes) >= min(gpus for _, gpus in asked))


def _workload(number: int, replicas: int, gpus: int, group: str, priority: int) -> Workload:
    shape = Shape((RoleShape("worker", replicas, Amount(1000, 1, gpus)),))
    return Workload(
        f"w{number}",
        group,
        priority,
        float(number),
        shape,
        time_limit=LIMITS[number % len(LIMITS)],
        owner="ann",
    )

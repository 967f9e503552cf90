"""What a pass remembers of those before never changes what it decides."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footplate_hub.queue.memory import Memory
from footplate_hub.queue.model import Plan, Running, Snapshot, Workload
from footplate_hub.queue.schedule import schedule
from proofs.queue.lives import prove
from support.random_worlds import random_world


def said(plan: Plan) -> tuple[object, ...]:
    told = sorted((w.id, b.code, b.reason.message) for b in plan.blocked for w in b.workloads)
    return plan.admit, plan.preempt, plan.reserve, told, plan.blocked.positions.tolist()


def gone_on(rng: random.Random, snapshot: Snapshot, plan: Plan, now: float) -> Snapshot:
    """Some of what was decided happens, something ends, something comes; what is left is the same objects."""
    started = {a.workload.id: a for a in plan.admit if rng.random() < 0.8}
    stopped = {p.running for p in plan.preempt}
    running = [
        replace(r, stopping=True) if r.id in stopped else r for r in snapshot.running if rng.random() < 0.8
    ]
    running += [
        Running(
            a.workload.id,
            a.workload.group,
            a.placements,
            a.workload.priority,
            ends=now + 50,
            started=now,
            owner=a.workload.owner,
        )
        for a in started.values()
    ]
    lines = []
    for line in snapshot.lines:
        left = tuple(w for w in line.workloads if w.id not in started)
        if left:
            lines.append(line if len(left) == len(line.workloads) else replace(line, workloads=left))
    if lines and rng.random() < 0.5:
        line = rng.choice(lines)
        like = line.workloads[0]
        new = Workload(f"new{now}", like.group, like.priority, now, like.shape, rng.choice([0, 40]))
        lines[lines.index(line)] = replace(
            line, workloads=tuple(sorted([*line.workloads, new], key=lambda w: w.rank))
        )
    rng.shuffle(lines)
    nodes = snapshot.nodes
    if nodes and rng.random() < 0.2:
        nodes = tuple(replace(n, unusable="lost") if rng.random() < 0.3 else n for n in nodes)
    return replace(snapshot, lines=tuple(lines), running=tuple(running), nodes=nodes)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_a_pass_that_remembers_decides_and_says_the_same(seed):
    rng = random.Random(seed)
    memory = Memory()
    snapshot, now = random_world(seed), 0.0
    for _ in range(5):
        plan = schedule(snapshot, now, memory)
        assert said(plan) == said(schedule(snapshot, now))
        now += 10.0
        snapshot = gone_on(rng, snapshot, plan, now)


def test_whoever_was_at_a_limit_in_one_pass_is_not_in_the_next_when_theirs_has_ended():
    found = prove(998)  # one person starts, then another, and the first one's attempt ends
    assert found.examples == {}


@pytest.mark.parametrize("seed", range(20))
def test_every_code_is_that_of_the_reason_told_and_positions_are_each_taken_once(seed):
    plan = schedule(random_world(seed), 0.0)
    assert all(blocked.code == blocked.reason.code for blocked in plan.blocked)
    positions = plan.blocked.positions.tolist() if hasattr(plan.blocked, "positions") else []
    assert sorted(positions) == list(range(1, len(positions) + 1))

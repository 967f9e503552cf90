"""A small part of the proofs, for every run of the tests; ``make prove`` runs all of them."""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from footplate_hub.queue.schedule import schedule
from proofs.queue import parts, small
from proofs.queue.check import violations
from proofs.queue.ledger import Chunk
from proofs.queue.worlds import NOW, random_world, shuffled

AGREEMENT = 0.99
FIXES_KEPT = 0.95
EXAMPLES = 5000 if os.environ.get("FOOTPLATE_PROVE") else 100


def violated(chunk: Chunk) -> dict[str, list[str]]:
    return {kind: examples for kind, examples in chunk.examples.items() if kind.startswith("violated")}


def agreement(counts: Counter[str]) -> float:
    return counts["agreed"] / counts["reasons"]


def test_random_worlds_keep_every_promise_and_their_reasons_are_the_oracles():
    chunk = parts.random_worlds(0, 160)

    assert violated(chunk) == {}
    assert agreement(chunk.counts) >= AGREEMENT, chunk.examples


@settings(
    max_examples=EXAMPLES,
    derandomize=not os.environ.get("FOOTPLATE_PROVE"),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.randoms(use_true_random=False))
def test_no_world_that_hypothesis_finds_breaks_a_promise(chance):
    world = random_world(chance)

    assert violations(world, NOW, schedule(world, NOW)) == []


def test_after_a_mishap_every_promise_holds():
    chunk = parts.mishaps(0, 100)

    assert violated(chunk) == {}
    assert agreement(chunk.counts) >= AGREEMENT, chunk.examples


def test_fixes_start_the_workload_when_they_are_applied():
    chunk = parts.offered(0, 80)

    assert violated(chunk) == {}
    assert chunk.counts["kept"] >= FIXES_KEPT * chunk.counts["fixes"], chunk.examples


def test_stories_end_without_anyone_starved_or_stopped_in_turns():
    chunk = parts.stories(0, 6)

    assert violated(chunk) == {}
    assert agreement(chunk.counts) >= AGREEMENT, chunk.examples


@pytest.mark.parametrize("workloads", [1, 2])
def test_small_worlds_keep_every_promise_and_their_reasons_are_the_oracles(workloads):
    chunk = Chunk()
    for family in random.Random(workloads).sample(list(small.families(workloads)), 4):
        for number, world in enumerate(small.sequences(family)):
            if number % 7 == 0:
                story = small.begin(chunk, family, world[: family.first])
                small.live(chunk, f"{family.name} #{number}", story, world[family.first :])

    assert violated(chunk) == {}
    assert agreement(chunk.counts) == 1.0, chunk.examples


def test_a_world_told_in_another_order_gets_the_same_plan():
    for seed in range(60):
        world = random_world(random.Random(seed))

        first, second = schedule(world, NOW), schedule(shuffled(world, random.Random(seed)), NOW)

        assert {a.workload.id: set(a.placements) for a in first.admit} == {
            a.workload.id: set(a.placements) for a in second.admit
        }
        assert {name: reason.code for name, reason in first.reasons.items()} == {
            name: reason.code for name, reason in second.reasons.items()
        }

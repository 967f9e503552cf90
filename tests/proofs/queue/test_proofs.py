"""A small part of the proofs, for every run of the tests; ``make prove`` runs all of them."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from footplate_hub.queue.schedule import schedule
from proofs.queue import small
from proofs.queue.ledger import Chunk
from proofs.queue.worlds import NOW, random_world, shuffled


def violated(chunk: Chunk) -> dict[str, list[str]]:
    return {kind: examples for kind, examples in chunk.examples.items() if kind.startswith("violated")}


def agreement(counts: Counter[str]) -> float:
    return counts["agreed"] / counts["reasons"]


@pytest.mark.parametrize("workloads", [1, 2])
def test_small_worlds_keep_every_promise_and_their_reasons_are_the_oracles(workloads):
    chunk = Chunk()
    for family in random.Random(workloads).sample(list(small.families(workloads)), 4):
        for number, world in enumerate(small.sequences(family)):
            if number % 7 == 0:
                small.live(chunk, family, number, world)

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

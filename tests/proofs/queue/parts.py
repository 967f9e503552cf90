"""The proofs, cut into chunks that each take seconds to minutes and depend on nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from footplate_hub.queue.schedule import schedule

from . import fixes, lives, small
from .ledger import Chunk
from .verdict import judge
from .worlds import NOW, random_world, unlucky

__all__ = ["PARTS", "Part", "mishaps", "offered", "random_worlds", "stories"]

WORLDS, WORLDS_A_CHUNK = 10_000, 250
MISHAPS = 4_000
STORIES, STORIES_A_CHUNK = 1_000, 20
ASKED, ASKED_A_CHUNK = 4_000, 200


@dataclass(frozen=True)
class Part:
    """One line of the table.

    Parameters
    ----------
    name
        Its ledger's.
    what
        What is tried, for the table.
    chunks
        By name; each gives the same counts whenever it is done.
    """

    name: str
    what: str
    chunks: Mapping[str, Callable[[], Chunk]]


def random_worlds(first: int, count: int) -> Chunk:
    """One pass over each of the random worlds with these seeds."""
    chunk = Chunk()
    for seed in range(first, first + count):
        snapshot = random_world(random.Random(seed))
        chunk.counts["worlds"] += 1
        judge(chunk, f"seed {seed}", snapshot, NOW, schedule(snapshot, NOW))
    return chunk


def mishaps(first: int, count: int) -> Chunk:
    """One pass over each of the random worlds with these seeds, after a mishap."""
    chunk = Chunk()
    for seed in range(first, first + count):
        chance = random.Random(seed)
        snapshot, now = unlucky(random_world(chance), chance)
        chunk.counts["worlds"] += 1
        judge(chunk, f"mishap {seed}", snapshot, now, schedule(snapshot, now))
    return chunk


def stories(first: int, count: int) -> Chunk:
    """Stories with these seeds; in every second all have one priority."""
    chunk = Chunk()
    for seed in range(first, first + count):
        chunk.add(lives.prove(seed, priorities=seed % 2 == 0))
    return chunk


def offered(first: int, count: int) -> Chunk:
    """Fixes for a few who wait in each of the random worlds with these seeds."""
    chunk = Chunk()
    for seed in range(first, first + count):
        chunk.add(fixes.prove(seed))
    return chunk


def _seeds(prove: Callable[[int, int], Chunk], total: int, size: int) -> dict[str, Callable[[], Chunk]]:
    return {
        f"seeds {first} to {first + size - 1}": partial(prove, first, size) for first in range(0, total, size)
    }


def _small(workloads: int) -> Part:
    chunks = {family.name: partial(small.prove, family) for family in small.families(workloads)}
    return Part(f"small-{workloads}", f"all worlds of 1 to 4 nodes and {workloads} workloads", chunks)


PARTS = [
    Part("random", f"{WORLDS:,} random worlds", _seeds(random_worlds, WORLDS, WORLDS_A_CHUNK)),
    Part("mishaps", f"{MISHAPS:,} random worlds after a mishap", _seeds(mishaps, MISHAPS, WORLDS_A_CHUNK)),
    Part("stories", f"{STORIES:,} random stories", _seeds(stories, STORIES, STORIES_A_CHUNK)),
    Part("fixes", f"fixes in {ASKED:,} random worlds", _seeds(offered, ASKED, ASKED_A_CHUNK)),
    *(_small(workloads) for workloads in range(1, 6)),
]

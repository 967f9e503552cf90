"""A gang of 512 GPUs among small jobs that never stop coming."""

from __future__ import annotations

import random

from footplate_hub.queue.model import Amount, NodeModel, RoleShape, Shape, Workload
from proofs.queue.story import Story
from proofs.queue.worlds import NOW

GANG = Workload("gang", "a", 0, NOW + 100, Shape((RoleShape("worker", 64, Amount(1000, 1, 8)),)), 600)


def small(number: int, when: float, chance: random.Random) -> Workload:
    shape = Shape((RoleShape("worker", 1, Amount(1000, 1, chance.choice([1, 1, 2, 4, 8]))),))
    return Workload(f"s{number}", chance.choice("ab"), 0, when, shape, chance.choice([60, 200, 900]))


def test_a_gang_of_512_gpus_starts_when_it_was_promised_and_others_pass_meanwhile():
    chance = random.Random(1)
    story = Story([NodeModel("east", f"n{n}", "h100", Amount(64000, 512, 8)) for n in range(64)])
    promised, passed, number = None, 0, 0
    while "gang" not in story.running:
        for _ in range(12):
            story.submit([small(number, story.now, chance)])
            number += 1
        if story.now == GANG.place:
            story.submit([GANG])
        _, plan = story.step()
        if promised is not None:
            passed += sum(a.workload.id != "gang" for a in plan.admit)
        for reservation in plan.reserve:
            if reservation.workload == "gang" and promised is None:
                promised = reservation.start
        assert promised is None or story.now <= promised
        story.now += 10
        for name in [r.id for r in story.running.values() if r.ends is not None and r.ends <= story.now]:
            story.end(name)

    assert promised is not None
    assert passed > 0

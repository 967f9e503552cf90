"""A server is asked in bursts, and no faster than its owner allows in the long run."""

from __future__ import annotations

import pytest

from footplate_hub.engines.kubernetes.pace import Pace


def test_a_burst_goes_at_once_and_the_rest_evenly():
    pace = Pace(qps=10, burst=3, clock=lambda: 100.0)
    assert [pace.delay() for _ in range(6)] == pytest.approx([0, 0, 0, 0.1, 0.2, 0.3])


def test_who_was_quiet_may_burst_again_and_not_more():
    now = [100.0]
    pace = Pace(qps=10, burst=3, clock=lambda: now[0])
    for _ in range(5):
        pace.delay()
    now[0] = 200.0
    assert [pace.delay() for _ in range(4)] == pytest.approx([0, 0, 0, 0.1])


async def test_turns_are_waited_for():
    pace = Pace(qps=1000, burst=1)
    for _ in range(3):
        await pace.turn()
    assert pace.delay() > 0

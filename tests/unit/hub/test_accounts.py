"""What groups used lately."""

from __future__ import annotations

import pytest

from footplate_hub.control.accounts import HALF_LIFE, Accounts, decayed

HOUR = 3600.0


def test_a_gpu_hour_now_counts_as_an_hour_and_half_of_it_after_a_week():
    now = 1e9
    assert decayed(2, now - HOUR, now, now) == pytest.approx(2 * HOUR, rel=0.01)
    week_ago = now - HALF_LIFE
    assert decayed(2, week_ago - HOUR, week_ago, now) == pytest.approx(HOUR, rel=0.01)


def test_what_ended_and_what_runs_are_the_same_use():
    now, accounts = 1e9, Accounts()
    accounts.add("a", 4, now - 3 * HOUR, now - HOUR, now - HOUR)
    whole = accounts.at([("a", 4, now - HOUR)], now)
    assert whole == {"a": pytest.approx(decayed(4, now - 3 * HOUR, now, now))}
    assert accounts.at([], now + HALF_LIFE)["a"] == pytest.approx(
        decayed(4, now - 3 * HOUR, now - HOUR, now) / 2
    )


def test_a_clock_that_jumps_makes_no_use_negative():
    accounts = Accounts()
    accounts.add("a", 1, 200.0, 100.0, 150.0)
    assert accounts.at([("a", 1, 500.0)], 120.0) == {"a": 0.0}

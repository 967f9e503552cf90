"""ETA ranges: what they rest on, what is unknown, and how they learn."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from footplate_hub.queue.durations import Durations
from footplate_hub.queue.eta import FIRST, Forecaster
from footplate_hub.queue.honesty import Errors, Outcome
from footplate_hub.queue.model import Amount, ClusterModel, Plan, Policy, Running
from footplate_hub.queue.schedule import schedule
from support.worlds import GI, node, quota, role, running, workload, world

NEED = Amount(1000, GI, 8)


def busy(name: str, on, *, limit: int = 3600, started: float = 0.0, **extra) -> Running:
    attempt = running(name, on, NEED, ends=started + limit)
    return replace(attempt, time_limit=limit, started=started, **extra)


def learned(share: float, *, group: str = "research", owner: str = "", name: str = "") -> Forecaster:
    durations = Durations()
    for _ in range(20):
        durations.add(group, owner, name, 1000, 1000 * share)
    return Forecaster(durations)


def foretold(forecaster: Forecaster, snapshot, now: float = 0.0, names=None):
    return forecaster.forecast(snapshot, schedule(snapshot, now), now, names)


def test_a_start_is_foretold_from_what_such_jobs_took_and_not_from_limits():
    a = node("a", gpu=8)
    w = workload("w", role(gpu=8), time_limit=60)
    snapshot = world([a], [w], running=(busy("r", a, limit=3600),))
    half = foretold(learned(0.5), snapshot).of(w)
    tenth = foretold(learned(0.1), snapshot).of(w)
    assert (half.middle, tenth.middle) == (pytest.approx(1800), pytest.approx(360))
    assert half.basis == "history"
    assert half.low is not None
    assert half.high is not None
    assert half.low < half.middle < half.high
    nothing = foretold(Forecaster(), snapshot).of(w)
    assert nothing.basis == "limits"
    assert "no job has ended yet" in nothing.sentence


def test_the_history_of_the_same_owner_and_name_counts_first():
    durations = Durations()
    for _ in range(20):
        durations.add("research", "ada", "train-17", 1000, 900)
        durations.add("research", "bo", "sweep", 1000, 100)
    assert durations.of("research", "ada", "train-99").whose == "name"
    assert durations.of("research", "ada", "other").shares[0] == 0.9
    assert durations.of("research", "bo", "").shares[-1] == 0.1
    assert durations.of("research", "cy", "").whose == "group"
    assert durations.of("else", "cy", "").whose == "all"
    assert Durations().of("research").whose == ""


def test_a_job_that_ran_longer_than_all_before_may_end_at_any_time_up_to_its_limit():
    whose = [("research", "", ""), ("research", "ada", ""), ("research", "", "")]
    left = learned(0.5).durations.remaining(
        whose, np.array([800.0, 0.0, 400.0]), np.full(3, 1000.0), np.array([[0.1, 0.9]] * 3)
    )
    assert left.tolist() == [pytest.approx([20, 180]), [500, 500], pytest.approx([100, 100])]


def test_no_range_ends_after_the_reservation():
    a = node("a", gpu=8)
    w = workload("w", role(gpu=8), time_limit=60)
    snapshot = world([a], [w], running=(busy("r", a, limit=1000),))
    eta = foretold(learned(0.95), snapshot).of(w)
    assert eta.high is not None
    assert eta.high <= 1000


def test_what_no_running_job_ends_is_unknown_and_says_why():
    a = node("a", gpu=8)
    service = replace(busy("r", a), ends=None, time_limit=0)
    waits, never = workload("w", role(gpu=8), time_limit=60), workload("x", role(gpu=64), time_limit=60)
    snapshot = world([a], [waits, never], running=(service,))
    forecast = foretold(learned(0.5), snapshot)
    eta = forecast.of(waits)
    assert (eta.low, eta.middle, eta.high, eta.basis) == (None, None, None, "unknown")
    assert "nothing that runs and has a time limit" in eta.sentence
    assert "NoMatchingFlavor" in forecast.of(never).sentence
    assert forecast.of(workload("absent")).basis == "unknown"


def test_those_ahead_go_first_and_short_ones_pass():
    a = node("a", gpu=8)
    first = workload("first", role(gpu=8), time_limit=1000, place=1.0)
    second = workload("second", role(gpu=8), time_limit=1000, place=2.0)
    snapshot = world([a], [first, second], running=(busy("r", a, limit=1000),))
    forecast = foretold(learned(0.5), snapshot)
    assert forecast.of(first).middle == pytest.approx(500)
    assert forecast.of(second).middle == pytest.approx(1000)
    assert set(forecast.first()) == {"first", "second"}

    b = node("b", gpu=8, cpu=64)
    half = replace(running("h", b, Amount(1000, GI, 4), ends=1000), time_limit=1000)
    large = workload("large", role(gpu=8), time_limit=1000, place=1.0)
    short = workload("short", role(2, gpu=2), time_limit=10, place=2.0)
    other = replace(running("o", b, Amount(1000, GI, 2), ends=600), time_limit=600)
    forecast = foretold(learned(0.5), world([b], [large, short], running=(half, other)))
    assert forecast.of(short).middle == pytest.approx(300)
    assert forecast.of(large).middle == pytest.approx(500)
    strict = {"local": ClusterModel("local", policy=Policy(backfill=False))}
    forecast = foretold(learned(0.5), world([b], [large, short], running=(half, other), clusters=strict))
    assert forecast.of(short).middle > 500


def test_a_quota_that_others_use_is_waited_for():
    nodes = [node("a", gpu=8), node("b", gpu=8)]
    w = workload("w", role(gpu=8), time_limit=100)
    groups = quota("research", "gpu", hard=True, gpu=8)
    snapshot = world(nodes, [w], running=(busy("r", nodes[0], limit=1000),), groups=groups)
    assert foretold(learned(0.5), snapshot).of(w).middle == pytest.approx(500)


def test_a_stopping_attempt_is_gone_within_its_grace():
    a = node("a", gpu=8)
    w = workload("w", role(gpu=8), time_limit=60)
    snapshot = world([a], [w], running=(busy("r", a, stopping=True),))
    assert foretold(learned(0.9), snapshot).of(w).middle == pytest.approx(60)


def test_those_behind_the_first_thousand_share_the_pace():
    a = node("a", gpu=8)
    many = [workload(f"w{n:05}", role(gpu=8), time_limit=100, place=float(n)) for n in range(2 * FIRST)]
    snapshot = world([a], many, running=(busy("r", a, limit=100),))
    forecast = foretold(learned(0.5), snapshot)
    assert forecast.of(many[FIRST - 1]).basis == "history"
    late, last = forecast.of(many[FIRST + 10]), forecast.of(many[-1])
    assert (late.basis, last.basis) == ("pace", "pace")
    assert late.middle < last.middle
    assert last.middle == pytest.approx(50 * 2 * FIRST, rel=0.1)


def test_a_forecast_of_one_pass_is_always_the_same_and_changes_nothing():
    nodes = [node(f"n{n}", gpu=8) for n in range(4)]
    chance = random.Random(1)
    waiting = [
        workload(f"w{n}", role(gpu=chance.choice([1, 2, 8])), time_limit=chance.randint(60, 900), place=n)
        for n in range(30)
    ]
    snapshot = world(nodes, waiting, running=tuple(busy(f"r{n.name}", n, limit=900) for n in nodes))
    plan = schedule(snapshot, 0)
    one, two = Forecaster(), Forecaster()
    first = one.forecast(snapshot, plan, 0).first()
    assert first == two.forecast(snapshot, plan, 0).first() == one.forecast(snapshot, plan, 0).first()
    assert schedule(snapshot, 0) == plan
    assert Forecaster().forecast(replace(snapshot, lines=()), Plan(), 0).first() == {}


@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
def test_ranges_widen_until_four_of_five_outcomes_are_inside(spread):
    chance = random.Random(7)
    errors, inside = Errors(), 0
    for _ in range(1000):
        wait = chance.uniform(100, 100_000)
        real = wait * chance.lognormvariate(0.3, spread)
        low, high = errors.around(wait)
        inside += low <= real <= high
        errors.add(Outcome(low, wait, high, real))
    assert 0.75 <= inside / 1000 <= 0.85

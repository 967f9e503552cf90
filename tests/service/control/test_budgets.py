"""A budget on the running service: what runs counts, what ended is kept, those whom it stops start later."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from footplate_hub.control import Refused
from footplate_hub.control.spending import Spending, period_at
from footplate_hub.store import jobs
from footplate_spec import Group, ReasonCode
from support.control import eventually, machine, rig

HOUR = 3600
GPUS = [{"resources": {"gpu": 2}}]


def group(hours: float, **more) -> Group:
    return Group.model_validate({"name": "research", "budget": {"gpu_hours": hours, **more}})


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("period", "begins", "renews"),
    [
        ("day", "2028-02-29", "2028-03-01"),
        ("week", "2028-02-28", "2028-03-06"),
        ("month", "2028-02-01", "2028-03-01"),
        ("year", "2028-01-01", "2029-01-01"),
    ],
)
def test_periods_begin_and_renew_at_midnight_utc(period, begins, renews):
    assert period_at(period, at("2028-02-29T23:59:59")) == (at(begins), at(renews))
    assert period_at(period, at(renews))[0] == at(renews)


def test_what_ended_counts_for_all_groups_above_in_each_period_and_no_longer_once_it_renews():
    spending, now = Spending(), at("2028-03-01T12:00")
    spending.add("a/b", 2, 3.0, at("2028-02-29T23:00"), at("2028-03-01T01:00"))
    day, week = spending.of("a", "day", now), spending.of("a/b", "week", now)
    assert (day.gpu_seconds, day.cost) == (2 * HOUR, 3.0)
    assert (week.gpu_seconds, week.cost) == (4 * HOUR, 6.0)
    spending.renewed = False
    assert spending.of("a", "day", now + 86400).gpu_seconds == 0
    assert spending.renewed
    assert spending.of("a", "month", now - 86400).gpu_seconds == 2 * HOUR  # a clock that jumped back


async def test_a_budget_stops_what_it_does_not_hold_and_a_restart_and_a_deletion_give_nothing_back(tmp_path):
    async with rig(tmp_path / "data", machine("n1", 8000, 8)) as one:
        await one.control.put_group(group(10), seen=None, actor="root")
        first = await one.submit(roles=GPUS, time_limit="2h")  # up to 4 of 10
        await one.until(first, "starting")
        second = await one.submit(roles=GPUS, time_limit="3h50m")  # up to 7.7
        reason = await eventually(lambda: _limited(one, second))
        assert (reason.numbers["reserved"], reason.numbers["left"]) == (4, 6)
        await one.say(f"{first}-a1", "running", started=time.time() - HOUR)
        await one.until(first, "running")
        [use] = one.control.budget_use(["research", "other"])
        assert (use.period, use.currency) == ("month", None)
        assert use.gpu_hours is not None
        assert (round(use.gpu_hours.used, 1), round(use.gpu_hours.reserved, 1)) == (2, 2)
        with pytest.raises(Refused, match="budget of group research"):
            await one.control.extend(first, 6 * HOUR, "ada")
        await one.control.extend(first, 3 * HOUR, "ada")
        await one.say(f"{first}-a1", "exited", exit_code=0)
        await one.until(second, "starting")  # 2 are used
        third = await one.submit(roles=GPUS, time_limit="30m")
        await eventually(lambda: _limited(one, third))
        await one.database.write(lambda t: jobs.delete_finished(t, first, "ada"))
        await one.restart()
        [use] = one.control.budget_use(["research"])
        assert use.gpu_hours is not None
        assert round(use.gpu_hours.used, 1) == 2
        await one.control.put_group(group(12), seen="*", actor="root")
        await one.until(third, "starting")


async def test_those_whom_a_budget_stops_start_when_it_renews(tmp_path, monkeypatch):
    async with rig(tmp_path / "data", machine("n1", 8000, 8)) as one:
        await one.control.put_group(group(1, period="day"), seen=None, actor="root")
        one.control._board.spending.add("research", 1, 0.0, time.time() - 0.9 * HOUR, time.time())
        job = await one.submit(roles=GPUS, time_limit="30m")
        await eventually(lambda: _limited(one, job) or one.control._board.running)
        tomorrow = period_at("day", time.time())[1] + 1 - time.time()
        real = time.time
        monkeypatch.setattr("footplate_hub.control.board.time.time", lambda: real() + tomorrow)
        await one.until(job, "starting")


def _limited(one, job):
    reason = one.control.reason(job)
    return reason if reason and reason.code == ReasonCode.LIMIT_REACHED else None

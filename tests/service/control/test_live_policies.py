"""Priorities that change while jobs wait and run."""

from __future__ import annotations

from footplate_spec import Priorities, QueuePolicy
from support.control import eventually, machine, rig

WHOLE = [{"resources": {"gpu": 2}}]


async def test_a_priority_that_grows_lets_those_who_wait_pass_and_preempt_and_a_restart_keeps_it(tmp_path):
    async with rig(tmp_path / "data", machine("n1", 4000, 2)) as one:
        runs = await one.submit(roles=WHOLE, priority="high")
        await one.until(runs, "starting")
        first = await one.submit(roles=WHOLE)
        low = await one.submit(roles=WHOLE, priority="low")
        await eventually(lambda: one.control.position(low))
        assert one.control.position(low) == (2, [first])
        changed = Priorities(priorities={"normal": 0, "high": 100, "low": 50})
        await one.control.policies.put_priorities(changed, seen="*", actor="root")
        await eventually(lambda: one.control.position(low) == (1, []))
        await one.restart()
        await eventually(lambda: one.control.position(low) == (1, []))
        assert one.control._board.running[f"{runs}-a1"].priority == 100
        higher = Priorities(priorities={"normal": 0, "high": 10, "low": 50})
        await one.control.policies.put_priorities(higher, seen="*", actor="root")
        await eventually(lambda: one.control._board.running[f"{runs}-a1"].stopping)


async def test_a_clusters_policy_counts_at_once_and_after_a_restart(tmp_path):
    async with rig(tmp_path / "data", machine("n1", 4000, 4)) as one:
        runs = await one.submit(roles=[{"resources": {"gpu": 3}}], time_limit="1h")
        await one.until(runs, "starting")
        policy = QueuePolicy(backfill=False)
        await one.control.policies.put_policy("local", policy, seen="*", actor="root")
        large = await one.submit(roles=[{"resources": {"gpu": 4}}])
        await eventually(lambda: one.control.position(large))
        small = await one.submit(roles=[{"resources": {"gpu": 1}}], time_limit="1m")
        await one.restart()
        await eventually(lambda: (r := one.control.reason(small)) and "nobody may pass" in r.message)
        await one.control.policies.reset_policy("local", "root")
        await one.until(small, "starting")

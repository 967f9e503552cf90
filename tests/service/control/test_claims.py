"""Engines that make pods again by themselves: one incarnation of a replica runs an execution, once."""

from __future__ import annotations

import asyncio
import time

import pytest

from footplate_hub.engines import EngineError, Observation
from footplate_hub.tokens import ReplicaId
from footplate_spec import Cause, CauseCode, Claim, ReasonCode
from support.control import FakeEngine, eventually, machine, rig


class Pods(FakeEngine):
    """Pods by uid; a test says which are gone."""

    def __init__(self, *nodes):
        super().__init__(*nodes)
        self.lost: set[str] = set()

    async def gone(self, holder: str, node: str) -> bool:
        return holder in self.lost

    def fence(self, holder: str) -> None:
        self.lost.add(holder)

    def end(self, attempt: str, holder: str, cause: Cause | None = None, *, told: bool = True) -> None:
        self.lost.add(holder)
        if told:
            self._seen.put_nowait(Observation(attempt, "worker", 0, False, holder=holder, cause=cause))

    def wait_for(self, attempt: str, holder: str, message: str) -> None:
        self._seen.put_nowait(Observation(attempt, "worker", 0, True, holder=holder, message=message))


@pytest.fixture
async def pods(tmp_path):
    async with rig(tmp_path / "data", engine=Pods(machine())) as running:
        yield running


async def started(pods, **fields) -> tuple[str, ReplicaId]:
    job = await pods.submit(**fields)
    await pods.until(job, "starting")
    await eventually(lambda: pods.engine.applied)
    return job, ReplicaId(f"{job}-a1", "worker", 0)


async def claim(pods, replica, holder, wait=0.0, node="n1"):
    return await pods.control.claim(replica, Claim(holder=holder, node=node), wait)


async def row(pods, job):
    [(_, [found])] = await pods.attempts(job)
    return found


async def test_the_first_pod_that_asks_may_run_and_may_ask_again(pods):
    job, replica = await started(pods)
    assert (await claim(pods, replica, "u1")).execution == 1
    assert (await claim(pods, replica, "u1")).execution == 1
    assert (await row(pods, job)).holder == "u1"


async def test_another_pod_of_the_replica_waits_while_the_first_may_live(pods):
    _, replica = await started(pods)
    await claim(pods, replica, "u1")
    granted = await claim(pods, replica, "u2")
    assert (granted.execution, granted.release) == (None, False)


async def test_a_pod_that_is_gone_is_a_loss_and_the_next_runs_the_next_execution(pods):
    job, replica = await started(pods, recovery={"max_restarts": 1})
    await claim(pods, replica, "u1")
    waiting = asyncio.create_task(claim(pods, replica, "u2", wait=10))
    pods.engine.end(replica.attempt, "u1", Cause(code=CauseCode.EVICTED, message="drained"))
    assert (await waiting).execution == 2
    assert (await row(pods, job)).holder == "u2"
    assert (await pods.job(job)).restarts == 1


async def test_a_loss_that_nobody_told_of_is_found_when_the_next_pod_asks(pods):
    _, replica = await started(pods, recovery={"max_restarts": 1})
    await claim(pods, replica, "u1")
    pods.engine.end(replica.attempt, "u1", told=False)
    assert (await claim(pods, replica, "u2", wait=10)).execution == 2


async def test_never_twice_where_that_is_forbidden(pods):
    job, replica = await started(pods, recovery={"max_restarts": 0})
    await claim(pods, replica, "u1")
    pods.engine.end(replica.attempt, "u1", Cause(code=CauseCode.OUT_OF_MEMORY, message="too much"))
    await pods.until(job, "failed")
    assert (await pods.job(job)).cause.code == "OutOfMemory"
    assert (await claim(pods, replica, "u2")).release is True


async def test_a_pod_that_was_given_up_gets_nothing_though_it_asks_first(pods):
    _, replica = await started(pods, recovery={"max_restarts": 1})
    await claim(pods, replica, "u1")
    pods.engine.end(replica.attempt, "u1")
    assert (await claim(pods, replica, "u1")).release is True
    assert (await claim(pods, replica, "u2", wait=10)).execution == 2


async def test_where_a_pod_came_to_lie_is_told(pods):
    job, replica = await started(pods)
    await claim(pods, replica, "u1", node="n7")
    assert (await row(pods, job)).node == "n7"


async def test_what_a_pod_waits_for_is_told(pods):
    job, replica = await started(pods)
    pods.engine.wait_for(replica.attempt, "u1", "The image x:1 cannot be pulled: not found")

    async def told():
        return (await row(pods, job)).message

    assert await eventually(told) == "The image x:1 cannot be pulled: not found"


async def test_pods_that_never_get_to_their_agent_are_made_again_and_given_up_with_why(pods):
    job, replica = await started(pods, recovery={"max_restarts": 0})
    broken = Cause(code=CauseCode.PLATFORM_FAULT, message="Its container ended with exit code 127.")
    for number in range(6):
        pods.engine.end(replica.attempt, f"u{number}", broken)
    await pods.until(job, "failed")
    assert "ended 6 times" in (await pods.job(job)).cause.message
    assert "exit code 127" in (await pods.job(job)).cause.message


async def test_a_claim_is_remembered_by_the_next_service(pods):
    _, replica = await started(pods)
    await claim(pods, replica, "u1")
    await pods.restart()
    assert (await claim(pods, replica, "u2")).execution is None
    assert (await claim(pods, replica, "u1")).execution == 1


async def test_a_pod_that_was_taken_away_has_saved_and_costs_one_restart(pods):
    job, replica = await started(pods, recovery={"max_restarts": 1})
    await claim(pods, replica, "u1")
    await pods.say(replica.attempt, "exited", signal=15, stopped="taken_away")
    pods.engine.end(replica.attempt, "u1")
    assert (await claim(pods, replica, "u2", wait=10)).execution == 2
    assert (await pods.job(job)).restarts == 1


async def silence(pods, job, seconds):
    """As if so long nothing had been heard of the replica that somebody holds."""
    pods.control._board.jobs[job].heard["worker", 0] = time.monotonic() - seconds


async def test_a_replica_that_falls_silent_is_told_and_not_made_again(pods):
    job, replica = await started(pods)
    await claim(pods, replica, "u1")
    assert pods.control.reason(job) is None
    await silence(pods, job, 3700)
    reason = pods.control.reason(job)
    assert reason.code == ReasonCode.NODE_LOST
    assert "worker 0 on n1 for 1h1m" in reason.message
    assert "fence_after" not in reason.message
    await asyncio.sleep(1.5)  # the watchdog looked
    assert (await claim(pods, replica, "u2")).execution is None
    await pods.say(replica.attempt, "running")
    assert pods.control.reason(job) is None


async def test_past_its_fence_another_starts_without_the_engines_word(pods):
    job, replica = await started(pods, recovery={"fence_after": "5m", "max_restarts": 1})
    await claim(pods, replica, "u1")
    await silence(pods, job, 310)  # its keeper may be at the last kill
    assert "or nothing was heard for 5m (fence_after)" in pods.control.reason(job).message
    await asyncio.sleep(1.5)
    assert (await row(pods, job)).holder == "u1"
    await silence(pods, job, 316)
    assert (await claim(pods, replica, "u2", wait=10)).execution == 2
    assert (await claim(pods, replica, "u1")).execution is None
    [(stored, _)] = await pods.attempts(job)
    assert (stored.cause.code, "(fence_after)" in stored.cause.message) == (CauseCode.NODE_LOST, True)


async def test_who_ended_itself_by_its_fence_costs_one_restart(pods):
    job, replica = await started(pods, recovery={"max_restarts": 1})
    await claim(pods, replica, "u1")
    await pods.say(replica.attempt, "exited", signal=15, stopped="fenced")
    assert (await claim(pods, replica, "u1", wait=10)).execution == 2
    assert (await pods.job(job)).restarts == 1


async def test_a_cancelled_job_on_a_lost_node_ends_though_nobody_confirms(pods, monkeypatch):
    monkeypatch.setattr("footplate_hub.control.reconciler._CONFIRMED", 0.1)
    job, replica = await started(pods, recovery={"checkpoint_grace": 0})
    await claim(pods, replica, "u1")
    pods.engine.refuse_delete = EngineError("Nobody knows.")
    await pods.control.cancel(job, "ada")
    live = pods.control._board.jobs[job]
    live.stopping_since = time.monotonic() - 100
    await pods.until(job, "cancelled")

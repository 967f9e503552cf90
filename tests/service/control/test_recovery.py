"""What follows from a failure: which processes start again, where, and how often."""

from __future__ import annotations

import json

import pytest

from footplate_hub.control import Refused
from footplate_spec import JobSpec
from support.control import eventually


def gang(*roles, **fields):
    return {"roles": [{"name": name, **role} for name, role in roles], **fields}


async def started(rig, **fields):
    job = await rig.submit(**fields)
    await rig.until(job, "starting")
    await eventually(lambda: any(a.job == job for a in rig.engine.applied))
    return job, f"{job}-a1"


async def ready(rig, attempt, *keys, execution=1):
    for number, key in enumerate(keys):
        await rig.say(attempt, "ready", key, execution=execution, address="127.0.0.1", port=4000 + number)


async def test_a_gang_meets_before_anyone_starts(two):
    job, attempt = await started(two, roles=[{"replicas": 4, "resources": {"gpu": 1}}])
    keys = [f"worker-{i}" for i in range(4)]
    await ready(two, attempt, *keys[:3])
    assert (await two.wants(attempt, "worker-0")).env is None
    await ready(two, attempt, keys[3])
    env = [(await two.wants(attempt, key)).env for key in keys]
    assert [e["RANK"] for e in env] == ["0", "1", "2", "3"]
    assert {(e["WORLD_SIZE"], e["MASTER_ADDR"], e["MASTER_PORT"]) for e in env} == {
        ("4", "127.0.0.1", "4000")
    }
    assert {e["NCCL_SOCKET_IFNAME"] for e in env} == {"lo"}
    assert (env[2]["PET_NNODES"], env[2]["PET_NODE_RANK"], env[2]["PET_NPROC_PER_NODE"]) == ("4", "2", "1")
    nodes = [replica["node"] for replica in json.loads(env[0]["FOOTPLATE_TOPOLOGY"])["replicas"]]
    assert nodes == sorted(nodes)  # ranks are together on their nodes
    for key in keys:
        await two.say(attempt, "running", key)
    assert (await two.job(job)).state == "running"


async def test_gpus_are_given_out_once(two):
    job, _ = await started(two, roles=[{"replicas": 4, "resources": {"gpu": 1}}])
    [(_, rows)] = await two.attempts(job)
    assert sorted((row.node, row.gpus) for row in rows) == [
        ("n1", (0,)), ("n1", (1,)), ("n2", (0,)), ("n2", (1,)),
    ]  # fmt: skip
    assert [(node.name, node.used_gpu) for node in two.control.nodes()] == [("n1", 2), ("n2", 2)]


async def test_a_lost_replica_restarts_the_gang_after_all_have_stopped(two):
    job, attempt = await started(two, roles=[{"replicas": 2}])
    for key in ("worker-0", "worker-1"):
        await two.say(attempt, "running", key)
    await two.say(attempt, "exited", "worker-1", lost=True)
    assert (await two.job(job)).stopping == "gang"
    told = await two.wants(attempt, "worker-0")
    assert (told.stop.reason, told.execution) == ("gang", 1)
    assert (await two.wants(attempt, "worker-1")).execution == 1  # not before its peer has ended
    await two.say(attempt, "exited", "worker-0", signal=15, stopped="gang")
    for key in ("worker-0", "worker-1"):
        told = await two.wants(attempt, key)
        assert (told.execution, told.stop, told.env) == (2, None, None)
    record = await two.job(job)
    assert (record.state, record.restarts, record.attempt) == ("starting", 1, 1)
    [(held, _)] = await two.attempts(job)
    assert held.cause.code == "NodeLost"
    await ready(two, attempt, "worker-0", "worker-1", execution=2)
    for key in ("worker-0", "worker-1"):
        await two.say(attempt, "exited", key, execution=2, exit_code=0)
    assert (await two.job(job)).state == "succeeded"


async def test_restart_replica_leaves_its_peers_alone(two):
    job, attempt = await started(two, roles=[{"replicas": 2, "on_failure": "restart_replica"}])
    for key in ("worker-0", "worker-1"):
        await two.say(attempt, "running", key)
    told = await two.say(attempt, "exited", "worker-1", exit_code=1)
    assert (told.execution, told.release) == (2, False)
    peer = await two.wants(attempt, "worker-0")
    assert (peer.execution, peer.stop) == (1, None)
    record = await two.job(job)
    assert (record.state, record.restarts) == ("running", 1)


async def test_restarts_are_counted_and_none_means_none(one):
    job, attempt = await started(one, roles=[{"on_failure": "restart_replica"}], recovery={"max_restarts": 2})
    for execution in (1, 2, 3):
        assert (await one.job(job)).state == "starting"
        await one.say(attempt, "exited", execution=execution, exit_code=1)
    record = await one.job(job)
    assert (record.state, record.restarts) == ("failed", 2)
    assert "started again 2 times" in record.cause.message
    job, attempt = await started(one, recovery={"max_restarts": 0})
    await one.say(attempt, "exited", lost=True)
    record = await one.job(job)
    assert (record.state, record.restarts, record.cause.code) == ("failed", 0, "NodeLost")


async def test_ignored_failures_do_not_count_unless_everyone_failed(one):
    job, attempt = await started(one, roles=[{"replicas": 2, "on_failure": "ignore"}])
    await one.say(attempt, "exited", "worker-0", exit_code=1)
    await one.say(attempt, "exited", "worker-1", exit_code=0)
    assert (await one.job(job)).state == "succeeded"
    job, attempt = await started(one, roles=[{"replicas": 2, "on_failure": "ignore"}])
    for key in ("worker-0", "worker-1"):
        await one.say(attempt, "exited", key, exit_code=1)
    assert (await one.job(job)).state == "failed"


async def test_a_failed_peer_is_told_to_stop_and_the_first_to_fail_is_the_cause(one):
    job, attempt = await started(one, roles=[{"replicas": 3}])
    for i in range(3):
        await one.say(attempt, "running", f"worker-{i}")
    await one.say(attempt, "exited", "worker-1", exit_code=9, ended=200.0)
    assert (await one.wants(attempt, "worker-0")).stop.reason == "finished"
    await one.say(attempt, "exited", "worker-2", exit_code=7, ended=100.0)
    with pytest.raises(Refused, match="ending already"):
        await one.control.cancel(job, "ada")
    await one.say(attempt, "exited", "worker-0", signal=15, stopped="finished")
    record = await one.job(job)
    assert (record.state, record.cause.replica, record.cause.exit_code) == ("failed", 2, 7)


@pytest.mark.parametrize(
    "roles",
    [
        [("worker", {"replicas": 2}), ("master", {})],
        [("worker", {"replicas": 2}), ("chief", {"on_success": "end_job"})],
    ],
    ids=["master", "end_job"],
)
async def test_the_success_of_a_deciding_role_ends_the_job(one, roles):
    job, attempt = await started(one, **gang(*roles))
    deciding = roles[1][0]
    await ready(one, attempt, "worker-0", "worker-1", f"{deciding}-0")
    leader = "master-0" if deciding == "master" else "worker-0"
    assert (await one.wants(attempt, leader)).env["RANK"] == "0"
    await one.say(attempt, "exited", f"{deciding}-0", exit_code=0)
    assert (await one.job(job)).state != "succeeded"
    for key in ("worker-0", "worker-1"):
        assert (await one.wants(attempt, key)).stop.reason == "finished"
        await one.say(attempt, "exited", key, signal=15, stopped="finished")
    assert (await one.job(job)).state == "succeeded"


async def nothing():
    """Nothing happens."""


async def test_a_job_on_a_blocked_node_goes_back_in_line_and_elsewhere(two):
    job, attempt = await started(two)
    [(_, [row])] = await two.attempts(job)
    place = (await two.job(job)).place
    await two.say(attempt, "running")
    node = await two.control.maintenance.block_node("local", row.node, "the fan is loud", "root")
    assert node.blocked == "the fan is loud"
    assert (await two.wants(attempt)).stop.reason == "evicted"
    await two.say(attempt, "exited", exit_code=0, stopped="evicted")
    await eventually(lambda: any(a.id == f"{job}-a2" for a in two.engine.applied))
    [(first, _), (_, [again])] = await two.attempts(job)
    assert (first.outcome, (await two.job(job)).place, (await two.job(job)).restarts) == ("evicted", place, 0)
    assert again.node != row.node
    assert first.cause.message == f"local/{row.node} was blocked while it ran there: the fan is loud"
    assert "job.requeued" in two.kinds(job)
    with pytest.raises(Refused, match="no node"):
        await two.control.maintenance.block_node("local", "n9", "x", "root")


async def test_blocking_every_address_leaves_a_reason_and_unblocking_lets_it_start(two):
    for address in ("10.0.0.1", "10.0.0.2"):
        await two.control.maintenance.block_address(address, "moving", "root")
    job = await two.submit()
    reason = await eventually(lambda: (r := two.control.reason(job)) and r.code == "NodeLost" and r)
    assert "blocked: moving" in reason.message
    await two.control.maintenance.unblock_address("10.0.0.2", "root")
    await two.until(job, "starting")
    assert "address.unblocked" in [event.kind for event in two.events]


async def test_an_evicted_job_that_may_never_run_again_fails_with_a_cause(two):
    job, attempt = await started(two, recovery={"max_restarts": 0})
    [(_, [row])] = await two.attempts(job)
    await two.say(attempt, "running")
    await two.control.maintenance.block_node("local", row.node, "fire", "root")
    await two.say(attempt, "exited", signal=15, stopped="evicted")
    record = await two.job(job)
    assert (record.state, record.cause.code) == ("failed", "Evicted")
    assert record.cause.message.endswith("fire; max_restarts: 0 forbids to run it again.")


async def test_on_a_drained_node_what_runs_goes_on_and_nothing_new_starts(two):
    job, attempt = await started(two)
    [(_, [row])] = await two.attempts(job)
    node = await two.control.maintenance.block_node("local", row.node, "new disks", "root", evict=False)
    assert (node.blocked, node.draining) == ("new disks", True)
    assert (await two.wants(attempt)).stop is None
    other = "n2" if row.node == "n1" else "n1"
    more = [(await started(two))[0] for _ in range(2)]
    assert {(await two.attempts(one))[0][1][0].node for one in more} == {other}
    assert "node.drained" in [event.kind for event in two.events]
    await two.control.maintenance.block_node("local", row.node, "fire", "root")
    assert (await two.wants(attempt)).stop.reason == "evicted"


async def test_an_eviction_that_a_kill_interrupted_goes_on_with_the_next_service(two):
    job, attempt = await started(two)
    [(_, [row])] = await two.attempts(job)
    two.control.maintenance._follow = nothing  # killed between the block and what follows from it
    await two.control.maintenance.block_node("local", row.node, "dust", "root")
    await two.restart()
    assert (await two.wants(attempt)).stop.reason == "evicted"


async def test_a_gang_whose_node_is_gone_goes_back_to_the_queue(two):
    job, attempt = await started(two, roles=[{"replicas": 2, "resources": {"gpu": 1}}])
    [(_, rows)] = await two.attempts(job)
    for key in ("worker-0", "worker-1"):
        await two.say(attempt, "running", key)
    await two.say(attempt, "exited", "worker-0", lost=True)
    two.control._board.set_nodes(
        [n.model_copy(update={"ready": n.name != rows[0].node}) for n in two.engine._nodes],
        two.control._board.blocks,
    )
    await two.say(attempt, "exited", "worker-1", signal=15, stopped="gang")
    await eventually(lambda: any(a.id == f"{job}-a2" for a in two.engine.applied))
    record = await two.job(job)
    assert (record.state, record.restarts, record.attempt) == ("starting", 1, 2)


async def test_a_ref_that_only_the_jobs_secret_resolves_is_recorded_once(one):
    source = {"git": {"url": "https://example.org/x.git", "ref": "main", "secret": "deploy"}}
    job = await one.submit(source=source, recovery={"max_restarts": 1})
    await one.until(job, "starting")
    for commit in ("a" * 40, "b" * 40, "no commit"):
        await one.say(f"{job}-a1", "preparing", environment={"git_commit": commit})
    git = JobSpec.model_validate_json((await one.job(job)).spec).source.git
    assert (git.ref, git.commit) == ("main", "a" * 40)
    await one.say(f"{job}-a1", "exited", lost=True)
    applied = await eventually(lambda: one.engine.applied[1:])
    assert applied[-1].spec.source.git.commit == "a" * 40

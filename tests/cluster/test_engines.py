"""Real pods of every engine: the same jobs mean the same everywhere."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

import pytest

from cluster.conftest import IMAGE
from footplate_spec.units import parse_cpu

MEET = """
import os, socket, time
rank, address, port = (int(os.environ['RANK']), os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT']))
if rank == 0:
    print('met', socket.create_server((address, port)).accept()[0].recv(9).decode())
else:
    for _ in range(100):
        try:
            c = socket.create_connection((address, port))
            break
        except OSError:
            time.sleep(0.1)
    c.sendall(b'rank %d' % rank)
"""
MEET_AGAIN = """
import os, socket, time
rank, address, port = (int(os.environ['RANK']), os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT']))
if rank == 0:
    caller = socket.create_server(('', port)).accept()[0]
    caller.sendall(os.environ['FOOTPLATE_EXECUTION'].encode())
    time.sleep(60 if os.environ['FOOTPLATE_EXECUTION'] == '1' else 0)
else:
    print('at', address, flush=True)
    met = b''
    while met != b'2':
        try:
            met = socket.create_connection((address, port), 1).recv(9) or met
            print('met', met.decode(), flush=True)
        except OSError:
            time.sleep(0.1)
"""
WAIT = "import os, time; print('execution', os.environ['FOOTPLATE_EXECUTION'], flush=True); time.sleep(60)"
SECOND = """
import os, time
print(os.environ['FOOTPLATE_EXECUTION'], flush=True)
time.sleep(60 if os.environ['FOOTPLATE_EXECUTION'] == '1' else 0)
"""


async def test_a_job_runs_in_a_pod_and_leaves_nothing_behind(cluster):
    job = await cluster.submit("print('hello from a pod')")
    assert (await cluster.ended(job))["state"] == "succeeded"
    assert await cluster.log(job) == "hello from a pod\n"
    async with asyncio.timeout(60):
        while await cluster.pods(job):
            await asyncio.sleep(0.2)


async def test_a_gang_meets(cluster):
    job = await cluster.submit(MEET, role={"replicas": 2})
    assert (await cluster.ended(job))["state"] == "succeeded"
    logs = [await cluster.log(job, replica=index) for index in (0, 1)]
    assert "met rank 1\n" in logs


async def test_who_stays_finds_the_first_replica_again_when_that_was_moved(cluster):
    role = {"replicas": 2, "on_failure": "restart_replica"}
    job = await cluster.submit(MEET_AGAIN, role=role, recovery={"max_restarts": 1})
    await cluster.running(job)
    async with asyncio.timeout(60):
        while "met 1" not in await cluster.log(job, replica=1):
            await asyncio.sleep(0.1)
    await cluster.delete_pods(job, grace=1, first=True)
    assert (await cluster.ended(job))["state"] == "succeeded"
    lines = (await cluster.log(job, replica=1)).splitlines()
    assert lines[0].startswith("at meet-")
    assert lines[-1] == "met 2"


async def test_the_programs_own_error_fails_the_job(cluster):
    job = await cluster.submit("1 / 0")
    ended = await cluster.ended(job)
    assert (ended["state"], ended["cause"]["code"]) == ("failed", "UserError")
    assert "ZeroDivisionError" in ended["cause"]["message"]


async def test_a_cancelled_job_ends_its_pod(cluster):
    job = await cluster.submit(WAIT)
    await cluster.running(job)
    async with cluster.client() as client:
        await client.post(f"jobs/{job}/cancel")
    assert (await cluster.ended(job))["state"] == "cancelled"
    async with asyncio.timeout(60):
        while await cluster.pods(job):
            await asyncio.sleep(0.2)


async def test_a_pod_that_is_taken_away_runs_again_and_saves_first(cluster):
    job = await cluster.submit(SECOND, recovery={"max_restarts": 1})
    await cluster.running(job)
    await cluster.delete_pods(job, grace=20)
    ended = await cluster.ended(job)
    assert (ended["state"], ended["restarts"]) == ("succeeded", 1)
    assert await cluster.log(job, execution=2) == "2\n"


async def test_never_twice_where_that_is_forbidden(cluster):
    job = await cluster.submit(WAIT, recovery={"max_restarts": 0})
    await cluster.running(job)
    await cluster.delete_pods(job, grace=1)
    ended = await cluster.ended(job)
    assert ended["state"] == "failed"
    assert ended["attempts"][-1]["replicas"][0]["execution"] == 1


async def test_the_service_dies_and_the_job_goes_on(cluster):
    job = await cluster.submit("import time\nfor n in range(60): print(n, flush=True); time.sleep(0.1)")
    await cluster.running(job)
    await cluster.stop()
    await asyncio.sleep(1)
    await cluster.start()
    assert (await cluster.ended(job))["state"] == "succeeded"
    assert await cluster.log(job) == "".join(f"{n}\n" for n in range(60))


TENSORFLOW = """
import json, os, socket, time
config = json.loads(os.environ['TF_CONFIG'])
host, port = config['cluster']['ps'][0].rsplit(':', 1)
if config['task']['type'] == 'ps':
    server = socket.create_server(('', int(port)))
    print(sorted(server.accept()[0].recv(9).decode() for _ in range(3)), flush=True)
else:
    for _ in range(100):
        try:
            word = '{type} {index}'.format(**config['task'])
            socket.create_connection((host, int(port))).sendall(word.encode())
            break
        except OSError:
            time.sleep(0.1)
"""


@pytest.mark.parametrize("cluster", ["kubeflow-v1", "kubedl"], indirect=True)
async def test_tensorflows_roles_run_as_a_tfjob(cluster):
    small = {"cpu": "50m", "memory": "64Mi"}
    roles = [{"name": name, "resources": small} for name in ("chief", "ps", "worker")]
    roles[2]["replicas"] = 2
    job = await cluster.submit(TENSORFLOW, roles=roles)
    assert (await cluster.ended(job))["state"] == "succeeded"
    met = await cluster.log(job, role="ps")
    assert met == "['chief 0', 'worker 0', 'worker 1']\n"


# What does not depend on the kind


async def test_out_of_memory_is_told(plain):
    job = await plain.submit("len(bytearray(200 * 2**20))", recovery={"max_restarts": 0})
    assert (await plain.ended(job))["cause"]["code"] == "OutOfMemory"


async def test_an_image_that_does_not_exist_is_explained(plain):
    job = await plain.submit("print(1)", image="localhost/none:1")

    def told(seen):
        attempts = seen["attempts"]
        return bool(attempts) and "cannot be pulled" in attempts[-1]["replicas"][0]["message"]

    seen = await plain.until(job, told)
    assert "localhost/none:1" in seen["attempts"][-1]["replicas"][0]["message"]


async def test_a_pod_that_is_torn_away_is_dead_only_when_its_node_says_so(plain):
    job = await plain.submit(SECOND, recovery={"max_restarts": 1})
    await plain.running(job)
    await plain.delete_pods(job, grace=0)
    ended = await plain.ended(job)
    assert (ended["state"], ended["restarts"]) == ("succeeded", 1)


async def test_past_its_fence_a_replica_that_is_cut_off_has_ended_and_another_starts(plain):
    if plain.relay is None:
        pytest.skip("nothing is between the pods of that cluster and this machine")
    fence = {"max_restarts": 1, "checkpoint_grace": 1, "fence_after": "31s"}
    job = await plain.submit(SECOND, recovery=fence)
    await plain.running(job)
    assert processes_of(job) == 1
    plain.relay.send_signal(signal.SIGSTOP)
    try:
        await plain.until(job, lambda seen: (seen["reason"] or {}).get("code") == "NodeLost")
        await plain.until(job, lambda seen: seen["attempts"][-1]["replicas"][0]["execution"] == 2)
        assert processes_of(job) == 0
    finally:
        plain.relay.send_signal(signal.SIGCONT)
    ended = await plain.ended(job)
    assert (ended["state"], ended["restarts"]) == ("succeeded", 1)
    assert await plain.log(job, execution=2) == "2\n"


def processes_of(job: str) -> int:
    """How many programs of a job live on this machine's nodes."""
    found = 0
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            found += f"FOOTPLATE_JOB={job}".encode() in file.read_bytes().split(b"\0")
    return found


async def test_several_clusters_and_a_namespace_for_each_group(plain, place, monkeypatch):
    place.need("volcano")
    other = f"{plain.namespace}-2"
    await plain.api.create("/api/v1/namespaces", {"apiVersion": "v1", "metadata": {"name": other}})
    await plain.stop()
    [west] = plain.settings.clusters
    namespaces = {"research": other, "sales": plain.namespace}
    east = west.kubernetes.model_copy(update={"namespaces": namespaces})
    clusters = [
        west.model_copy(update={"name": "east", "kubernetes": east}),
        west.model_copy(update={"name": "west", "engine": "volcano"}),
    ]
    settings = plain.settings.model_copy(update={"clusters": clusters})
    monkeypatch.setattr(type(plain), "settings", settings)
    await plain.start()
    try:
        where = {}
        for cluster in ("east", "west"):
            job = await plain.submit(WAIT, cluster=cluster)
            await plain.running(job)
            pods, _ = await plain.api.list("/api/v1/pods", labelSelector=f"footplate/job={job}")
            where[cluster] = [(pod["metadata"]["namespace"], pod["spec"]["schedulerName"]) for pod in pods]
            async with plain.client() as client:
                await client.post(f"jobs/{job}/cancel")
            assert (await plain.ended(job))["state"] == "cancelled"
        assert where == {"east": [(other, "default-scheduler")], "west": [(plain.namespace, "volcano")]}
    finally:
        await plain.stop()
        await plain.api.delete(f"/api/v1/namespaces/{other}")


async def test_kubernetes_starts_all_of_a_gang_or_none(plain, place):
    if place.whole is None:
        pytest.skip("the cluster that is there may have no groups of pods")
    [node] = (await plain.api.list("/api/v1/nodes"))[0]
    left = parse_cpu(node["status"]["allocatable"]["cpu"]) - 75
    pause = ["python3", "-c", "import time; time.sleep(600)"]
    resources = {"requests": {"cpu": f"{left}m"}}
    container = {"name": "c", "image": IMAGE, "command": pause, "resources": resources}
    foreign = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "foreign"},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    pods = f"/api/v1/namespaces/{plain.namespace}/pods"
    await plain.api.create(pods, foreign)
    async with asyncio.timeout(30):
        while "nodeName" not in (await plain.api.get(f"{pods}/foreign"))["spec"]:
            await asyncio.sleep(0.1)
    # Two roles, so two Jobs: a Job's own group would not hold both.
    roles = [{"name": name, "resources": {"cpu": "50m", "memory": "64Mi"}} for name in ("one", "two")]
    job = await plain.submit("print(1)", roles=roles)

    def told(seen):
        replicas = seen["attempts"][-1]["replicas"] if seen["attempts"] else []
        return len(replicas) == 2 and all("not found a place" in one["message"] for one in replicas)

    await plain.until(job, told)
    assert all("nodeName" not in pod["spec"] for pod in await plain.pods(job))  # one alone would fit
    await plain.api.delete(f"{pods}/foreign", gracePeriodSeconds=0)
    assert (await plain.ended(job))["state"] == "succeeded"


async def test_kueue_lets_a_job_start_when_its_queue_has_room(plain, place, monkeypatch):
    if place.whole is None:
        pytest.skip("the cluster that is there may have no Kueue")
    place.whole.engines.start("kueue")
    kueue, queue = "/apis/kueue.x-k8s.io/v1beta2", plain.namespace
    head = {"apiVersion": "kueue.x-k8s.io/v1beta2", "metadata": {"name": queue}}

    def quota(cpu: str) -> dict:
        amounts = [{"name": "cpu", "nominalQuota": cpu}, {"name": "memory", "nominalQuota": "1Gi"}]
        flavors = [{"name": queue, "resources": amounts}]
        return {"resourceGroups": [{"coveredResources": ["cpu", "memory"], "flavors": flavors}]}

    local = f"{kueue}/namespaces/{plain.namespace}/localqueues"
    for path, kind, spec in (
        (f"{kueue}/resourceflavors", "ResourceFlavor", {}),
        (f"{kueue}/clusterqueues", "ClusterQueue", {"namespaceSelector": {}, **quota("0")}),
        (local, "LocalQueue", {"clusterQueue": queue}),
    ):
        await plain.api.create(path, {**head, "kind": kind, "spec": spec})
    await plain.stop()
    [kube] = plain.settings.clusters
    under_kueue = kube.kubernetes.model_copy(update={"local_queue": queue})
    clusters = [kube.model_copy(update={"kubernetes": under_kueue})]
    monkeypatch.setattr(type(plain), "settings", plain.settings.model_copy(update={"clusters": clusters}))
    await plain.start()
    job = await plain.submit("print(1)")
    workloads = f"{kueue}/namespaces/{plain.namespace}/workloads"
    async with asyncio.timeout(30):
        while not any("status" in one for one in (await plain.api.list(workloads))[0]):
            await asyncio.sleep(0.1)
    assert await plain.pods(job) == []
    await plain.api.patch(f"{kueue}/clusterqueues/{queue}", {"spec": quota("1")})
    assert (await plain.ended(job))["state"] == "succeeded"
    await plain.api.delete(f"{kueue}/clusterqueues/{queue}")
    await plain.api.delete(f"{kueue}/resourceflavors/{queue}")


async def test_a_tainted_node_runs_what_tolerates_it(plain):
    [name, *_] = sorted(node["metadata"]["name"] for node in (await plain.api.list("/api/v1/nodes"))[0])
    taint = {"key": "team", "value": "vision", "effect": "NoExecute"}
    await plain.api.patch(f"/api/v1/nodes/{name}", {"spec": {"taints": [taint]}})
    try:
        async with asyncio.timeout(30), plain.client("root") as client:
            while not (await client.get("nodes")).json()[0]["taints"]:
                await asyncio.sleep(0.05)
        waits = await plain.submit("print(1)")
        runs = await plain.submit("print(1)", placement={"tolerations": [{"key": "team"}]})
        assert (await plain.ended(runs))["state"] == "succeeded"
        seen = await plain.until(waits, lambda seen: seen["reason"]["code"] == "NodesExcluded")
        assert f"the taint team=vision:NoExecute of {name}" in seen["reason"]["message"]
    finally:
        await plain.api.patch(f"/api/v1/nodes/{name}", {"spec": {"taints": None}})
    assert (await plain.ended(waits))["state"] == "succeeded"

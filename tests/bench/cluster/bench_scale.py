"""A large cluster that fills: Footplate, Volcano alone, Kueue, one after the other on one control plane.

All are given the same jobs, which all have room and run until they are removed, by clients that ask 200 times
a second with bursts of 400. ``FOOTPLATE_BENCH_NODES`` (1,000) and ``FOOTPLATE_BENCH_JOBS`` (2,000) are the
size; ``FOOTPLATE_BENCH_PATIENCE`` are the seconds that each may take (900).
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil

from bench.report import Result
from cluster.harness.plane import Plane
from footplate_hub.engines.kubernetes.pace import Pace
from support.platform import Platform, wait_until

from .fleet import Progress, Ran, fleet
from .scene import NAMESPACE, Watcher, absent, cluster_alone, platform_on

__all__ = ["BENCHES"]

NODES = int(os.environ.get("FOOTPLATE_BENCH_NODES", "1000"))
JOBS = int(os.environ.get("FOOTPLATE_BENCH_JOBS", "2000"))
PATIENCE = float(os.environ.get("FOOTPLATE_BENCH_PATIENCE", "900"))
GPUS = 8
QPS, BURST = 200, 400
IMAGE = "localhost/python:3.11"
BATCH, VOLCANO = "apis/batch/v1", "apis/batch.volcano.sh/v1alpha1"
GROUPS = f"/apis/scheduling.volcano.sh/v1beta1/namespaces/{NAMESPACE}/podgroups"
KUEUE = "/apis/kueue.x-k8s.io/v1beta2"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
_COUNTED = re.compile(r"^apiserver_request_total\{.*\} (\S+)$", re.MULTILINE)
_OURS = re.compile(
    r'^apiserver_flowcontrol_dispatched_requests_total\{flow_schema="footplate",.*\} (\S+)$', re.MULTILINE
)
NAMES = ("admissions", "makespan", "requests", "service_memory")


def scale() -> Iterator[Result]:
    """All numbers of one size."""
    why = absent()
    if why:
        for name in NAMES:
            yield Result(f"cluster_{name}", None, "", "on a real control plane", None, why=why)
        return
    sizes = fleet(JOBS)
    with cluster_alone(NODES, GPUS) as whole:
        ours, asked, memory = _footplate(whole.plane, sizes)
        theirs: dict[str, Ran] = {}
        failed: dict[str, str] = {}
        for name, run in (("volcano", _volcano), ("kueue", _kueue)):
            whole.engines.start(name)
            try:
                theirs[name] = run(whole.plane, sizes)
            except TimeoutError as error:
                failed[name] = str(error)
            whole.engines.stop(name)
    yield from _compared(ours, theirs, failed)
    goal = 10 * JOBS + sum(sizes)
    told = f"at most 10 a job and 1 a pod, deletes included: {goal / JOBS:.4g} here"
    yield Result("cluster_requests_per_job", asked / JOBS, "requests/job", told, asked <= goal)
    yield Result("cluster_service_memory", memory, "MB", "at most 500 MB", memory <= 500)


def _compared(ours: Ran, theirs: dict[str, Ran], failed: dict[str, str]) -> Iterator[Result]:
    size = f"{NODES} nodes of {GPUS} GPUs, {JOBS} jobs"
    why = "; ".join(f"{name}: {what}" for name, what in failed.items())
    best = max(theirs, key=lambda name: theirs[name].rate, default=None)
    yield Result(
        "cluster_admissions",
        ours.rate,
        "jobs/s",
        f"≥ 1.5 × the better one's ({size})",
        None if best is None else ours.rate >= 1.5 * theirs[best].rate,
        best or "",
        None if best is None else theirs[best].rate,
        why,
    )
    best = min(theirs, key=lambda name: theirs[name].bound, default=None)
    yield Result(
        "cluster_makespan",
        ours.bound,
        "s",
        f"until all pods are bound: never worse than the better one ({size})",
        None if best is None else ours.bound <= theirs[best].bound,
        best or "",
        None if best is None else theirs[best].bound,
        why,
    )
    for name, their in theirs.items():
        beside = ("beside the others", None, name)
        yield Result("cluster_admissions_beside", ours.rate, "jobs/s", *beside, their.rate)
        yield Result("cluster_makespan_beside", ours.bound, "s", *beside, their.bound)
        all_ours, all_theirs = ours.requests / JOBS, their.requests / JOBS
        yield Result("cluster_all_requests_per_job_beside", all_ours, "requests/job", *beside, all_theirs)


def _footplate(plane: Plane, sizes: list[int]) -> tuple[Ran, float, float]:
    """The run, the requests of the service alone, and its memory at most."""
    way = _account(plane)
    with platform_on(way) as running, running.client() as client:
        wait_until(lambda: len(client.get("nodes").json()) >= NODES, 60)
        asked, memory = _metric(plane, _OURS), list[float]()

        jobs: list[str] = []

        def submit() -> None:
            for first in range(0, len(sizes), 1000):
                specs = [_spec(size) for size in sizes[first : first + 1000]]
                keys = [secrets.token_hex(8) for _ in specs]
                answer = client.post("jobs/batch", json={"jobs": specs, "keys": keys})
                jobs.extend(answer.raise_for_status().json()["ids"])

        def look() -> None:
            with contextlib.suppress(psutil.Error):
                memory.append(psutil.Process(running.pid("service")).memory_info().rss / 1e6)

        ran = _run(plane, sizes, "footplate", submit, lambda: _cancel(running, jobs), look=look)
        return ran, _metric(plane, _OURS) - asked, max(memory)


def _volcano(plane: Plane, sizes: list[int]) -> Ran:
    path = f"/{VOLCANO}/namespaces/{NAMESPACE}/jobs"
    return _run(
        plane,
        sizes,
        "volcano",
        lambda: _create(plane, path, [_vcjob(number, size) for number, size in enumerate(sizes)]),
        lambda: _delete(plane, path),
    )


def _kueue(plane: Plane, sizes: list[int]) -> Ran:
    room = {"cpu": NODES * 96, "memory": f"{NODES}Ti", "nvidia.com/gpu": NODES * GPUS}
    amounts = [{"name": name, "nominalQuota": amount} for name, amount in room.items()]
    flavors = [{"name": "kwok", "resources": amounts}]
    quotas = {"resourceGroups": [{"coveredResources": list(room), "flavors": flavors}]}
    for path, kind, spec in (
        (f"{KUEUE}/resourceflavors", "ResourceFlavor", {}),
        (f"{KUEUE}/clusterqueues", "ClusterQueue", {"namespaceSelector": {}, **quotas}),
        (f"{KUEUE}/namespaces/{NAMESPACE}/localqueues", "LocalQueue", {"clusterQueue": "kwok"}),
    ):
        made = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": kind, "metadata": {"name": "kwok"}}
        plane.api("POST", path, {**made, "spec": spec})
    path = f"/{BATCH}/namespaces/{NAMESPACE}/jobs"
    return _run(
        plane,
        sizes,
        "kueue",
        lambda: _create(plane, path, [_job(number, size) for number, size in enumerate(sizes)]),
        lambda: _delete(plane, path),
    )


def _run(
    plane: Plane, sizes: list[int], name: str, submit: Any, remove: Any, *, look: Any = lambda: None
) -> Ran:
    """Submit, wait until all is bound, remove, wait until nothing is left."""
    progress = Progress(len(sizes), sum(sizes))
    if name == "volcano":
        jobs = Watcher(plane.kubeconfig, GROUPS, progress.pod_group)
    else:
        jobs = Watcher(plane.kubeconfig, f"/{BATCH}/namespaces/{NAMESPACE}/jobs", progress.job)
    before = _metric(plane, _COUNTED)
    with jobs, Watcher(plane.kubeconfig, PODS, progress.pod):
        began = time.time()
        submit()
        try:
            _wait(progress.done, f"{name}: {progress}", progress, look)
        finally:
            remove()
            _wait(progress.gone, f"{name} removes", progress, look)
    return progress.ran(began, _metric(plane, _COUNTED) - before)


def _wait(done: Any, what: str, progress: Progress, look: Any) -> None:
    end = time.monotonic() + PATIENCE
    told = time.monotonic()
    while not done():
        look()
        if time.monotonic() > told + 20:
            told = time.monotonic()
            print(f"{what.partition(':')[0]}: {progress}", file=sys.stderr, flush=True)
        if time.monotonic() > end:
            raise TimeoutError(f"not done in {PATIENCE:g} s: {progress}")
        time.sleep(0.2)


def _account(plane: Plane) -> str:
    """A kubeconfig for somebody whose requests the API server counts apart."""
    flow = "flowcontrol.apiserver.k8s.io/v1"
    whose = {"kind": "User", "user": {"name": "footplate"}}
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}
    rules = {
        "subjects": [whose],
        "resourceRules": [{**everything, "clusterScope": True}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }
    schema = {
        "apiVersion": flow,
        "kind": "FlowSchema",
        "metadata": {"name": "footplate"},
        "spec": {
            "priorityLevelConfiguration": {"name": "exempt"},  # as the others' are, who are masters
            "matchingPrecedence": 2,
            "rules": [rules],
        },
    }
    plane.api("POST", f"/apis/{flow}/flowschemas", schema)
    roles = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{roles}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "footplate-bench"},
        "roleRef": {"apiGroup": roles, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "User", "name": "footplate", "apiGroup": roles}],
    }
    plane.api("POST", f"/apis/{roles}/v1/clusterrolebindings", binding)
    server = f"https://127.0.0.1:{plane.port}"
    return plane.authority.kubeconfig("footplate", "footplate", "", server)


def _metric(plane: Plane, pattern: re.Pattern[str]) -> float:
    return sum(float(count) for count in pattern.findall(plane.api("GET", "/metrics")))


def _spec(size: int) -> dict[str, Any]:
    resources = {"cpu": 1, "memory": "1Gi", "gpu": 1}
    return {"command": ["true"], "roles": [{"replicas": size, "resources": resources}]}


def _template(number: int) -> dict[str, Any]:
    limits = {"memory": "1Gi", "nvidia.com/gpu": "1"}
    container = {
        "name": "main",
        "image": IMAGE,
        "command": ["true"],
        "resources": {"requests": {"cpu": "1", **limits}, "limits": limits},
    }
    return {
        "metadata": {"labels": {"bench": f"job-{number}"}},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }


def _job(number: int, size: int) -> dict[str, Any]:
    labels = {"kueue.x-k8s.io/queue-name": "kwok"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"job-{number}", "labels": labels},
        "spec": {
            "suspend": True,
            "completionMode": "Indexed",
            "completions": size,
            "parallelism": size,
            "template": _template(number),
        },
    }


def _vcjob(number: int, size: int) -> dict[str, Any]:
    task = {"name": "worker", "replicas": size, "template": _template(number)}
    return {
        "apiVersion": "batch.volcano.sh/v1alpha1",
        "kind": "Job",
        "metadata": {"name": f"job-{number}"},
        "spec": {"schedulerName": "volcano", "queue": "default", "minAvailable": size, "tasks": [task]},
    }


def _create(plane: Plane, path: str, manifests: list[dict[str, Any]]) -> None:
    pace = Pace(QPS, BURST)

    def create(manifest: dict[str, Any]) -> None:
        plane.api("POST", path, manifest)

    with ThreadPoolExecutor(8) as pool:
        asked = []
        for manifest in manifests:
            time.sleep(pace.delay())
            asked.append(pool.submit(create, manifest))
        for one in asked:
            one.result()


def _delete(plane: Plane, path: str) -> None:
    body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
    plane.api("DELETE", path, body)


def _cancel(running: Platform, jobs: list[str]) -> None:
    with ThreadPoolExecutor(8) as pool, running.client() as client:
        list(pool.map(lambda job: client.post(f"jobs/{job}/cancel").raise_for_status(), jobs))


BENCHES = (scale,)

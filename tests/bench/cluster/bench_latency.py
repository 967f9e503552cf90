"""How soon a submitted job has its pod, and how soon a notebook knows what happened to one."""

from __future__ import annotations

import base64
import contextlib
import secrets
import statistics
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx

from bench.report import Result
from footplate_hub.engines.kubernetes import names
from support.kernel import Kernel, kernel
from support.platform import wait_until

from .scene import NAMESPACE, Scene, Watcher, absent, scene

__all__ = ["BENCHES"]

ROUNDS = 30
NODES = 20
ALLOWED_MS = 100
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
SPEC = {
    "command": ["true"],
    "roles": [{"resources": {"cpu": 1, "memory": "64Mi"}}],
    "recovery": {"max_restarts": 0},
}
GOAL = f"at most {ALLOWED_MS} ms"


class _Seen:
    """When the API server told of each pod's making, running and failing, by a label of it."""

    def __init__(self) -> None:
        self.created: dict[str, float] = {}
        self.failed: dict[str, float] = {}
        self.running: dict[str, dict[str, Any]] = {}
        self._changed = threading.Condition()

    def take(self, now: float, kind: str, pod: dict[str, Any]) -> None:
        labels = pod["metadata"]["labels"]
        whose = labels.get(names.JOB) or labels["bare"]
        with self._changed:
            if kind == "ADDED":
                self.created[whose] = now
            phase = pod.get("status", {}).get("phase")
            if phase == "Running":
                self.running[whose] = pod
            if phase == "Failed":
                self.failed.setdefault(whose, now)
            self._changed.notify_all()

    def wait(self, what: dict[str, Any], whose: str) -> Any:
        with self._changed:
            if not self._changed.wait_for(lambda: whose in what, 60):
                raise TimeoutError(f"nothing was told of {whose} in 60 s")
            return what[whose]


def latencies() -> Iterator[Result]:
    """p50 of both, one job after the other; beside the first a Job that is made without Footplate."""
    why = absent()
    if why:
        yield Result("cluster_submit_to_pod_p50", None, "ms", GOAL, None, why=why)
        yield Result("cluster_watch_to_notebook_p50", None, "ms", GOAL, None, why=why)
        return
    seen = _Seen()
    with (
        scene(NODES) as stage,
        Watcher(stage.whole.plane.kubeconfig, PODS, seen.take),
        stage.platform.client() as client,
        kernel(stage.platform.folder, {"FOOTPLATE_DIR": str(stage.platform.folder)}) as notebook,
    ):
        wait_until(lambda: len(client.get("nodes").json()) >= NODES, 60)
        notebook.run("import time, footplate")
        ours, bare, told = [], [], []
        for number in range(-3, ROUNDS):
            job, milliseconds = _submit(client, seen)
            beside = _bare(stage, seen)
            late = _fail(stage, client, seen, notebook, job)
            if number >= 0:  # the first ones warm everything up
                ours.append(milliseconds)
                bare.append(beside)
                told.append(late)
    value = statistics.median(ours)
    beside = "a Job made through the same API without Footplate"
    yield Result(
        "cluster_submit_to_pod_p50", value, "ms", GOAL, value <= ALLOWED_MS, beside, statistics.median(bare)
    )
    value = statistics.median(told)
    yield Result("cluster_watch_to_notebook_p50", value, "ms", GOAL, value <= ALLOWED_MS)


def _submit(client: httpx.Client, seen: _Seen) -> tuple[str, float]:
    began = time.time()
    answer = client.post("jobs", json=SPEC, headers={"Idempotency-Key": secrets.token_hex(8)})
    job = answer.raise_for_status().json()["id"]
    return job, (seen.wait(seen.created, job) - began) * 1000


def _bare(stage: Scene, seen: _Seen) -> float:
    """Milliseconds until a Job that is made directly has its pod."""
    name = f"bare-{secrets.token_hex(4)}"
    container = {"name": "main", "image": "localhost/python:3.11", "command": ["true"]}
    template = {
        "metadata": {"labels": {"bare": name}},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": template},
    }
    began = time.time()
    stage.whole.plane.api("POST", JOBS, manifest)
    return (seen.wait(seen.created, name) - began) * 1000


def _fail(stage: Scene, client: httpx.Client, seen: _Seen, notebook: Kernel, job: str) -> float:
    """Milliseconds from the API server's word that a pod failed until a cell that waits for its job goes on.

    KWOK runs no agent, so this is said in its place: the pod has begun, and the program runs.
    """
    pod = seen.wait(seen.running, job)
    meta = pod["metadata"]
    name = names.object_name(meta["labels"][names.ATTEMPT], meta["labels"][names.ROLE])
    secret = stage.whole.plane.api("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets/{name}")
    token = base64.b64decode(secret["data"]["token-0"]).decode()
    headers = {"Authorization": f"Bearer {token}"}
    claim = {"holder": meta["uid"], "node": pod["spec"]["nodeName"]}
    client.post("agent/claim", json=claim, headers=headers).raise_for_status()
    report = {"execution": 1, "state": "running", "started": time.time()}
    client.post("agent/report", json=report, headers=headers).raise_for_status()
    code = f"job = footplate.attach('{job}'); print('waits', flush=True); job.wait(); print(time.time())"
    failing = threading.Event()

    def once_it_waits(ran: Any) -> bool:
        if "waits" in ran.stdout and not failing.is_set():
            failing.set()
            threading.Timer(0.2, _make_fail, (stage, meta["name"])).start()
        return False

    ran = notebook.run(code, while_running=once_it_waits)
    if ran.error:
        raise RuntimeError(ran.traceback)
    return (float(ran.stdout.split()[-1]) - seen.wait(seen.failed, job)) * 1000


def _make_fail(stage: Scene, pod: str) -> None:
    ended = {"exitCode": 137, "reason": "OOMKilled"}
    container = {"name": "main", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    status = {"phase": "Failed", "containerStatuses": [{**container, "state": {"terminated": ended}}]}
    path = f"{PODS}/{pod}/status"
    with contextlib.suppress(OSError):
        stage.whole.plane.api("PATCH", path, {"status": status}, kind="merge-patch")


BENCHES = (latencies,)

"""Many jobs: a thousand of `true` through the whole path, submits, a page of a long list, memory."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil

from bench.peers import ray_rate, sbatch_rate
from bench.report import Result, percentile
from support.platform import platform, wait_until

JOBS = 1000
FINISHED = 10_000
SPEC = {"command": ["true"], "roles": [{"resources": {"cpu": "250m", "memory": "16Mi"}}]}
WAITS = {"command": ["true"], "roles": [{"resources": {"cpu": 100_000}}]}  # more than any machine here has


def thousand_jobs() -> Iterator[Result]:
    """Jobs a second beside the rate at which a loop starts `python -c pass`."""
    with platform() as running:
        baseline = _pythons_a_second()
        with running.client() as client:
            began = time.monotonic()
            client.post(
                "jobs/batch", json={"jobs": [SPEC] * JOBS, "keys": [f"b{n}" for n in range(JOBS)]}
            ).raise_for_status()
            wait_until(lambda: _states(client)["succeeded"] == JOBS)
            value = JOBS / (time.monotonic() - began)
    yield Result(
        "thousand_true_jobs",
        value,
        "jobs/s",
        "at least a third of the baseline",
        value >= baseline / 3,
        "a loop of python -c pass",
        baseline,
    )
    for name, peer in (("sbatch", sbatch_rate), ("ray", ray_rate)):
        rate, why = peer()
        yield Result(
            f"thousand_true_jobs_beside_{name}", value, "jobs/s", "comparison", None, name, rate, why
        )


def many_jobs() -> Iterator[Result]:
    """With 10,000 finished jobs: a page, memory."""
    with platform() as running:
        with running.client() as client:
            for first in range(0, FINISHED, 1000):
                keys = [f"f{n}" for n in range(first, first + 1000)]
                client.post("jobs/batch", json={"jobs": [WAITS] * 1000, "keys": keys}).raise_for_status()
            with ThreadPoolExecutor(8) as pool:
                for page in _pages(client, "queued"):
                    list(
                        pool.map(lambda job: client.post(f"jobs/{job['id']}/cancel").raise_for_status(), page)
                    )
            times = []
            for _ in range(300):
                began = time.monotonic()
                client.get("jobs", params={"limit": 100}).raise_for_status()
                times.append((time.monotonic() - began) * 1000)
        value = percentile(times, 0.99)
        yield Result("list_100_of_10000_jobs_p99", value, "ms", "at most 20 ms", value <= 20)
        rss = psutil.Process(running.pid("service")).memory_info().rss / 1e6
        yield Result("service_memory_10000_jobs", rss, "MB", "at most 200 MB", rss <= 200)


def submits() -> Iterator[Result]:
    """How fast jobs are accepted, one a request and in batches."""
    with platform() as running, running.client() as client:
        client.post("jobs", json=WAITS, headers={"Idempotency-Key": "warm"}).raise_for_status()
        began = time.monotonic()
        with ThreadPoolExecutor(16) as pool:
            list(
                pool.map(
                    lambda n: client.post(
                        "jobs", json=WAITS, headers={"Idempotency-Key": f"s{n}"}
                    ).raise_for_status(),
                    range(900),
                )
            )
        single = 900 / (time.monotonic() - began)
        began = time.monotonic()
        for first in range(0, 5000, 500):
            keys = [f"c{n}" for n in range(first, first + 500)]
            client.post("jobs/batch", json={"jobs": [WAITS] * 500, "keys": keys}).raise_for_status()
        batch = 5000 / (time.monotonic() - began)
    yield Result("submits_singly", single, "jobs/s", "at least 300/s", single >= 300)
    yield Result("submits_in_batches", batch, "jobs/s", "at least 2,000/s", batch >= 2000)


def _pythons_a_second() -> float:
    began = time.monotonic()
    for _ in range(100):
        subprocess.run([sys.executable, "-c", "pass"], check=True)
    return 100 / (time.monotonic() - began)


def _pages(client, state: str) -> Iterator[list[dict]]:
    while (
        page := client.get("jobs", params={"limit": 500, "state": state}).raise_for_status().json()["items"]
    ):
        yield page


def _states(client) -> dict[str, int]:
    """How many jobs are in each final state, by walking the list."""
    counts = {"succeeded": 0}
    before = None
    while True:
        parameters = {"limit": 1000, "state": "succeeded", **({"before": before} if before else {})}
        page = client.get("jobs", params=parameters).raise_for_status().json()
        counts["succeeded"] += len(page["items"])
        before = page["next"]
        if not before:
            return counts


BENCHES = (thousand_jobs, submits, many_jobs)

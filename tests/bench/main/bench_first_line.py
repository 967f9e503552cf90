"""From a cell in a real kernel to the first line of its job, beside a bare subprocess in the same kernel."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator

from jupyter_client.manager import KernelManager

from bench.peers import ray_first_line, srun_first_line
from bench.report import Result
from support.platform import platform

ROUNDS = 50
ALLOWED_MS = 50
BARE = (
    "import subprocess, sys\n"
    "p = subprocess.Popen([sys.executable, 'hello.py'], stdout=subprocess.PIPE, text=True)\n"
    "for line in p.stdout: print(line, end='', flush=True)\n"
    "p.wait();"
)


def first_line() -> Iterator[Result]:
    """p50 of 50, alternating, so that both see the same machine."""
    with platform() as running:
        manager = KernelManager(kernel_name="python3")
        work = running.folder / "bench-work"
        work.mkdir()
        (work / "hello.py").write_text("print('hello from the job', flush=True)\n")
        manager.start_kernel(cwd=str(work), env=running.environment())
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(60)
        try:
            _until_line(client, "%load_ext footplate\n%train hello.py")
            ours, bare = [], []
            for _ in range(ROUNDS):
                bare.append(_until_line(client, BARE))
                ours.append(_until_line(client, "%train hello.py"))
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    baseline = statistics.median(bare)
    value = statistics.median(ours)
    yield Result(
        "first_line_p50",
        value,
        "ms",
        f"within {ALLOWED_MS} ms of a bare subprocess",
        value - baseline <= ALLOWED_MS,
        f"subprocess of {sys.executable.rsplit('/', 1)[-1]} hello.py",
        baseline,
    )
    for name, peer in (("srun", srun_first_line), ("ray", ray_first_line)):
        median, why = peer()
        yield Result(f"first_line_p50_beside_{name}", value, "ms", "comparison", None, name, median, why)


def _until_line(client, code: str) -> float:
    """Milliseconds from sending the cell until the job's line arrives; then wait for the cell's end."""
    began, seen = time.monotonic(), 0.0
    request = client.execute(code)
    while True:
        message = client.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") != request:
            continue
        content = message["content"]
        if message["msg_type"] == "stream" and "hello from the job" in content["text"] and not seen:
            seen = time.monotonic()
        if message["msg_type"] == "error":
            raise RuntimeError("\n".join(content["traceback"]))
        if message["msg_type"] == "status" and content["execution_state"] == "idle":
            break
    if not seen:
        raise RuntimeError("the job printed nothing")
    return (seen - began) * 1000


BENCHES = (first_line,)

"""Output on its way: how late a line is, and how fast a reader gets a long log."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from bench.report import Result, percentile
from support.platform import platform, wait_until

LINES = 400
MEBIBYTES = 200
CLOCK = (
    "import time, sys\n"
    f"for n in range({LINES}):\n"
    "    print(f'{time.time():.6f}', flush=True); time.sleep(0.02)\n"
)
FLOOD = f"import sys\nline = 'x' * 1023 + '\\n'\nfor _ in range({MEBIBYTES}): sys.stdout.write(line * 1024)\n"


def log_lag() -> Iterator[Result]:
    """Each line carries its time of birth; a follower compares it with the time of arrival."""
    lags: list[float] = []
    with platform() as running, running.client() as client:
        job = _submit(client, CLOCK)
        with client.stream("GET", f"jobs/{job}/follow") as stream:
            for line in stream.iter_lines():
                item, now = json.loads(line), time.time()
                if item["kind"] == "log":
                    lags += [(now - float(text)) * 1000 for text in item["text"].split()]
                if item["kind"] == "end":
                    break
    if len(lags) != LINES:
        raise RuntimeError(f"{len(lags)} of {LINES} lines arrived")
    value = percentile(lags, 0.99)
    yield Result("log_lag_p99", value, "ms", "at most 100 ms", value <= 100)


def log_read() -> Iterator[Result]:
    """One reader, byte ranges of 4 MiB."""
    size = MEBIBYTES * 2**20
    with platform() as running, running.client() as client:
        job = _submit(client, FLOOD)
        wait_until(lambda: client.get(f"jobs/{job}").json()["state"] == "succeeded", 120)
        began, got = time.monotonic(), 0
        while got < size:
            span = f"bytes={got}-{min(got + 4 * 2**20, size) - 1}"
            got += len(
                client.get(f"jobs/{job}/logs/worker/0", headers={"Range": span}).raise_for_status().content
            )
        value = size / 1e6 / (time.monotonic() - began)
    yield Result("log_read_one_reader", value, "MB/s", "at least 50 MB/s", value >= 50)


def _submit(client, code: str) -> str:
    spec = {"command": ["python3", "-c", code], "roles": [{"resources": {"memory": "256Mi"}}]}
    return (
        client.post("jobs", json=spec, headers={"Idempotency-Key": str(time.time())})
        .raise_for_status()
        .json()["id"]
    )


BENCHES = (log_lag, log_read)

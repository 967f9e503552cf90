"""Jobs and the platform's ends: what was running goes on, and the next ``up`` finds it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from support.up import Home, Kernel, wait_until


def test_a_cell_becomes_a_job_and_its_variables_come_back(kernel: Kernel) -> None:
    kernel.run("X = [1, 2, 3]")

    ran = kernel.run("%%train -i X -o total\nimport os\ntotal = sum(X)\nprint('in process', os.getpid())")
    after = kernel.run("import os; print(total, job.state, os.getpid())").text.split()

    assert "in process" in ran.text
    assert after[:2] == ["6", "succeeded"]
    assert after[2] not in ran.text


def test_a_running_job_outlives_down_and_the_next_up_finds_it(running: Home, kernel: Kernel) -> None:
    go = running.path / "go"
    job = _submit(kernel, f"echo began; while [ ! -e {go} ]; do sleep 0.1; done; echo went on")
    wait_until(lambda: "began" in _log(running, job), limit=20)
    shells = _shells(go)

    running.down()
    wait_until(lambda: "fork server" not in _not_keepers(running), limit=20)
    survived = _shells(go)
    running.up()
    go.touch()
    wait_until(lambda: _state(running, job) == "succeeded", limit=30)

    assert len(shells) == 1
    assert survived == shells
    assert _log(running, job) == "began\nwent on\n"
    assert _attempts(running, job) == 1


def test_a_job_ends_while_everything_is_dead_and_its_result_is_there_afterwards(running: Home) -> None:
    kernel = _fresh_kernel(running)
    go = running.path / "go-too"
    job = _submit(kernel, f"echo began; while [ ! -e {go} ]; do sleep 0.1; done; echo all alone; exit 7")
    wait_until(lambda: "began" in _log(running, job), limit=20)

    os.kill(running.pid("supervisor"), signal.SIGKILL)
    wait_until(lambda: "service" not in running.processes(), limit=10)
    go.touch()
    wait_until(lambda: not _shells(go), limit=20)
    running.up()
    wait_until(lambda: _state(running, job) == "failed", limit=30)

    assert _log(running, job) == "began\nall alone\n"
    view = json.loads(running.footplate("jobs", "--json").stdout)
    assert next(one for one in view if one["id"] == job)["cause"]["code"] == "UserError"


def test_a_job_goes_on_when_the_notebook_that_sent_it_is_gone(running: Home) -> None:
    kernel = _fresh_kernel(running)
    go = running.path / "go-three"
    job = _submit(kernel, f"while [ ! -e {go} ]; do sleep 0.1; done; echo done")

    for kind in ("kernel", "machine"):
        for pid in running.processes().get(kind, []):
            os.kill(pid, signal.SIGKILL)
    go.touch()
    wait_until(lambda: _state(running, job) == "succeeded", limit=30)

    again = _fresh_kernel(running)
    assert "done" in again.run(f"%attach {job}").text


def _fresh_kernel(running: Home) -> Kernel:
    visitor = running.visitor()
    wait_until(lambda: visitor.start_machine() > 0, limit=60)
    return visitor.start_kernel()


def _submit(kernel: Kernel, command: str) -> str:
    code = f"import footplate as fp; job = fp.submit({command!r}, cpu='100m', workspace=None); print(job.id)"
    return kernel.run(code).text.strip().splitlines()[-1]


def _log(running: Home, job: str) -> str:
    return running.footplate("logs", job, check=False).stdout


def _state(running: Home, job: str) -> str:
    jobs = json.loads(running.footplate("jobs", "--json").stdout)
    return next(one["state"] for one in jobs if one["id"] == job)


def _attempts(running: Home, job: str) -> int:
    jobs = json.loads(running.footplate("jobs", "--json").stdout)
    return int(next(one["attempt"] for one in jobs if one["id"] == job))


def _shells(go: Path) -> list[int]:
    """The processes whose command line names this file: the job's shell, wherever it came from."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(go).encode() in words and words.startswith((b"/bin/sh", b"sh\0", b"/bin/bash", b"bash\0")):
                found.append(int(entry.name))
    return found


_STAY = {"footplate-keep", "footplate-agent"[:15]}


def _not_keepers(running: Home) -> dict[str, list[int]]:
    """Without keepers and agents, which are there to stay."""
    names = {
        kind: [pid for pid in pids if _comm(pid) not in _STAY | {None}]
        for kind, pids in running.processes().items()
    }
    return {kind: pids for kind, pids in names.items() if pids}


def _comm(pid: int) -> str | None:
    """What the kernel calls the process; none when it has just ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None

"""One child of the supervisor, a small web server here: replaced when it ends and when it hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from footplate_hub.supervisor.child import Child, ChildSpec, Probe
from support.up import free_port, wait_until


class Kept:
    """A child that is kept running, and what it said."""

    def __init__(self, folder: Path, argv: list[str], port: int | None = None) -> None:
        self.said: list[str] = []
        probe = Probe(port, "/", interval=0.1, timeout=0.5, failures=2, starting=8) if port else None
        self.child = Child(
            ChildSpec(
                "part",
                argv,
                {"PATH": os.environ["PATH"]},
                folder,
                folder / "part.log",
                port=port,
                probe=probe,
            ),
            self.said.append,
        )
        self.stopping = asyncio.Event()
        self.task = asyncio.create_task(self.child.keep(self.stopping))

    async def until(self, done, limit: float = 20) -> None:
        async with asyncio.timeout(limit):
            while not done():
                await asyncio.sleep(0.02)

    async def end(self) -> None:
        self.stopping.set()
        await self.child.stop(seconds=1)
        await self.task


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Kept]:
    port = free_port()
    kept = Kept(tmp_path, [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)], port)
    assert kept.child.spec.probe is not None
    await kept.until(lambda: kept.child.pid is not None)
    async with asyncio.timeout(20):
        while not await kept.child.spec.probe.ask():
            await asyncio.sleep(0.05)
    yield kept
    await kept.end()


async def test_a_child_that_is_killed_is_replaced(server: Kept) -> None:
    first = server.child.pid
    assert first is not None

    os.kill(first, signal.SIGKILL)
    await server.until(lambda: server.child.pid not in {None, first})

    assert server.child.restarts == 1
    assert "was ended by SIGKILL; starting it again in" in server.said[0]


async def test_a_child_that_hangs_is_replaced(server: Kept) -> None:
    """A stopped process keeps its port and its number, so only asking it can tell."""
    first = server.child.pid
    assert first is not None

    os.kill(first, signal.SIGSTOP)
    await server.until(lambda: server.child.pid not in {None, first})

    assert "did not answer any more" in server.said[0]
    assert not psutil.pid_exists(first)


async def test_a_child_that_always_ends_is_started_again_more_and_more_slowly(tmp_path: Path) -> None:
    kept = Kept(tmp_path, [sys.executable, "-c", "raise SystemExit(3)"])

    await kept.until(lambda: len(kept.said) == 2)
    await kept.end()

    assert "ended with exit code 3; starting it again in 0.5 s" in kept.said[0]
    assert "starting it again in 1 s" in kept.said[1]


async def test_a_child_that_does_not_exist_is_one_sentence(tmp_path: Path) -> None:
    kept = Kept(tmp_path, [str(tmp_path / "nothing")])

    await kept.until(lambda: bool(kept.said))
    await kept.end()

    assert "part does not start" in kept.said[0]


async def test_what_a_child_left_in_its_group_ends_with_it(tmp_path: Path) -> None:
    script = (
        "import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
    )
    kept = Kept(tmp_path, [sys.executable, "-c", script])
    log = tmp_path / "part.log"
    await kept.until(lambda: log.exists() and bool(log.read_text()))

    await kept.end()

    straggler = int(log.read_text())
    await kept.until(
        lambda: not psutil.pid_exists(straggler) or psutil.Process(straggler).status() == psutil.STATUS_ZOMBIE
    )


def test_children_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    script = f"""
import asyncio, sys
from pathlib import Path
from footplate_hub.supervisor.child import Child, ChildSpec
spec = ChildSpec("part", ["sleep", "600"], {{"PATH": "/usr/bin:/bin"}}, Path({str(tmp_path)!r}), Path({str(tmp_path)!r}) / "part.log")
async def main():
    child = Child(spec, print)
    task = asyncio.create_task(child.keep(asyncio.Event()))
    while child.pid is None:
        await asyncio.sleep(0.01)
    print(child.pid, flush=True)
    await task
asyncio.run(main())
"""  # noqa: E501
    supervisor = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    child = int(supervisor.stdout.readline())

    supervisor.kill()
    supervisor.wait()

    wait_until(
        lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE,
        limit=5,
    )

"""One child of the supervisor: started, watched, started again, stopped.

Promises: a child that ends or that stops answering is replaced after a pause that grows with repeated
failure; a supervisor that is killed takes its children along, so that no half of a platform is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from . import http
from .ports import port_problem

__all__ = ["Child", "ChildSpec", "Probe", "become_subreaper"]

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 30.0
_LONGEST_PAUSE_ONCE_WELL = 2.0  # what had answered has no fault of its own
_LONG_LIFE = 30.0
_STOP_SECONDS = 8.0


def become_subreaper() -> None:
    """Have orphans of our children handed to us, so that the ended ones can be buried."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1)


@dataclass(frozen=True)
class Probe:
    """How a child shows that it is not only there but working.

    Parameters
    ----------
    port, path
        What is asked; any HTTP answer below 500 counts.
    interval, timeout
        Seconds between two questions, and for one answer.
    failures
        So many unanswered in a row, and the child is replaced.
    starting
        Seconds that a new child may take for its first answer.
    """

    port: int
    path: str
    interval: float = 5.0
    timeout: float = 10.0
    failures: int = 3
    starting: float = 120.0

    async def ask(self) -> bool:
        """Whether the child answers now."""
        try:
            return (await http.ask(self.port, self.path, timeout=self.timeout)).status < 500
        except OSError:
            return False


@dataclass(frozen=True)
class ChildSpec:
    """What to run.

    Parameters
    ----------
    env
        The whole environment; secrets travel here, never in ``argv``.
    port
        Where it will listen, checked before each start.
    user
        OS user to run as; unset: ours.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    cwd: Path
    log: Path
    port: int | None = None
    probe: Probe | None = None
    user: str | None = None


class Child:
    """Keeps one program running.

    Parameters
    ----------
    spec
        The program.
    say
        Tells the platform's owner what happened, one sentence a call.
    """

    def __init__(self, spec: ChildSpec, say: Callable[[str], None]) -> None:
        self.spec = spec
        self.restarts = 0
        self.why: str | None = None
        self.since = time.time()
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._answered = False

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else None

    async def keep(self, stopping: asyncio.Event) -> None:
        """Run it until ``stopping`` is set and `stop` ended it."""
        pause = _FIRST_PAUSE
        while not stopping.is_set():
            began = time.monotonic()
            why = await self._live()
            if stopping.is_set():
                return
            longest = _LONGEST_PAUSE_ONCE_WELL if self._answered else _LONGEST_PAUSE
            pause = _FIRST_PAUSE if time.monotonic() - began > _LONG_LIFE else min(pause * 2, longest)
            self.why, self.since = why, time.time()
            self.restarts += 1
            self._say(f"{why}; starting it again in {pause:g} s (its log: {self.spec.log})")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), pause)

    async def stop(self, seconds: float = _STOP_SECONDS) -> None:
        """Ask it to end, and after ``seconds`` end it."""
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while self.pid is not None and time.monotonic() < deadline:  # noqa: ASYNC110 - bounded
            await asyncio.sleep(0.05)
        self._signal(signal.SIGKILL)

    async def _live(self) -> str:
        """One life, from start to end; says how it ended."""
        if self.spec.port is not None and (problem := port_problem(self.spec.port, self.spec.name)):
            return problem
        try:
            self._process = self._start()
        except (OSError, KeyError, subprocess.SubprocessError) as error:
            return f"{self.spec.name} does not start: {error}"
        self.since, self._answered = time.time(), False
        ended = asyncio.get_running_loop().create_task(_ended(self._process))
        hung = asyncio.get_running_loop().create_task(self._watch())
        try:
            await asyncio.wait([ended, hung], return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                # What is left of its group goes too; dev machines and keepers have sessions of their own.
                self._signal(signal.SIGKILL)
                await ended
                return f"{self.spec.name} did not answer any more and was ended"
        finally:
            hung.cancel()
        self._signal(signal.SIGKILL)
        return f"{self.spec.name} {_how_ended(self._process.returncode)}"

    async def _watch(self) -> None:
        """Return when the child hangs; never, while it answers."""
        probe = self.spec.probe
        if probe is None:
            await asyncio.Event().wait()
            return
        deadline = time.monotonic() + probe.starting
        while not await probe.ask():
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(min(probe.interval, 1.0))
        self._answered = True
        missed = 0
        while missed < probe.failures:
            await asyncio.sleep(probe.interval)
            missed = 0 if await probe.ask() else missed + 1

    def _start(self) -> subprocess.Popen[bytes]:
        account: dict[str, Any] = {}
        if self.spec.user is not None:
            entry = pwd.getpwnam(self.spec.user)
            account = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        with _append(self.spec.log) as log:
            return subprocess.Popen(
                list(self.spec.argv),
                env=dict(self.spec.env),
                cwd=self.spec.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 - this process has no threads
                **account,
            )

    def _signal(self, number: int) -> None:
        # After the end too: the group, whose number stays taken while a member lives, may hold stragglers.
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


def _append(log: Path) -> IO[bytes]:
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def _die_with(parent: int) -> Callable[[], None]:
    def in_child() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died between the fork and the line above
            os._exit(1)

    return in_child


async def _ended(process: subprocess.Popen[bytes]) -> None:
    """Wait without a thread: a pidfd becomes readable when its process ends."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    descriptor = os.pidfd_open(process.pid)
    loop.add_reader(descriptor, done.set)
    try:
        await done.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    process.wait()


def _how_ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


if sys.platform != "linux":  # pragma: no cover
    raise ImportError("the supervisor needs Linux: processes are watched by pidfd and end with their parent")

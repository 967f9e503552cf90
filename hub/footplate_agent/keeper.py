"""The keeper: parent of the user's process, and what makes every execution happen at most once.

It has no network and does little, so that it does not fail. It promises: a claim (``started-N``) is on the
disk before a program exists, the program's whole tree ends when it should, and one synced record says how.
Starting a keeper in a folder is always safe: one that cannot take the lock ends, and one that finds a
claim without a record ends what is left of that execution and records it as lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import time
import traceback
from typing import Any, Dict, List, NoReturn, Optional

from . import processes
from .channel import Channel, ChannelClosed
from .execution import Execution
from .fence import Fence, clock
from .folder import ExitRecord, ReplicaFolder, jot, write_atomic
from .spawn import Program, Seat, SpawnError
from .watch import cgroup_paths

__all__ = ["keep"]

_BACKOFF_FIRST, _BACKOFF_LAST = 0.1, 5.0
_LIVED_WELL = 10.0
_WRITE_AGAIN = 1.0


def keep(path: str) -> int:
    """Be the keeper of a folder until its agent says that everything was received."""
    os.umask(0o077)
    folder = ReplicaFolder(path)
    if not folder.take_lock():
        return 0
    os.chdir("/")
    processes.name_process("footplate-keep")
    _redirect(folder.file("agent.log"))
    return _Keeper(folder).run()


def _redirect(log: str) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    notes = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(notes, 1)
    os.dup2(notes, 2)
    os.close(null)
    os.close(notes)


class _Keeper:
    def __init__(self, folder: ReplicaFolder) -> None:
        self._folder = folder
        self._start: Dict[str, Any] = {}
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._agent: Optional[int] = None
        self._channel: Optional[Channel] = None
        self._agent_due = 0.0
        self._agent_began = 0.0
        self._backoff = _BACKOFF_FIRST
        self._seat: Optional[Seat] = None
        self._execution: Optional[Execution] = None
        self._unwritten: List[ExitRecord] = []
        self._write_due = 0.0
        self._ended = False
        self._pod_ends = False
        self._ran = False
        self._fence = Fence(None, 0.0)
        self._prepares = False

    def run(self) -> int:
        self._catch_signals()
        processes.become_subreaper()
        me = processes.identity(os.getpid())
        write_atomic(
            self._folder.file("keeper.json"),
            json.dumps(
                {
                    "pid": os.getpid(),
                    "boot_id": processes.boot_id(),
                    "start_time": me.start_time if me else 0,
                }
            ).encode(),
            sync=False,
        )
        self._start = self._folder.read_start()
        self._fence = Fence(self._start.get("fence_after"), self._grace)
        if self._start.get("holder"):  # in a pod, whoever takes it away says so
            signal.signal(signal.SIGTERM, self._pod_is_taken_away)
        self._recover()
        while not self._ended:
            now = time.monotonic()
            if self._agent is None and now >= self._agent_due:
                self._start_agent(now)
            for key, _ in self._selector.select(self._until_next(now)):
                if key.fileobj is self._woken:
                    self._woken.recv(4096)
                else:
                    self._listen()
            self._reap()
            self._look()
        self._end_children()
        return 0

    def _catch_signals(self) -> None:
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to be woken
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def _pod_is_taken_away(self, *_: object) -> None:
        self._pod_ends = True

    def _recover(self) -> None:
        """Close what a dead predecessor left open."""
        for number in self._folder.executions():
            if self._folder.read_exit(number) is None:
                # Whoever still lives writes to the log; it is whole only when they are gone.
                processes.end_marked(self._folder.path)
                self._end_cgroups()
                record = ExitRecord(
                    number, lost=True, started=self._folder.started_at(number), ended=time.time()
                )
                self._write(record)

    def _end_cgroups(self) -> None:
        for cgroup in cgroup_paths(self._start.get("cgroup")):
            try:
                with open(os.path.join(cgroup, "cgroup.procs"), encoding="ascii") as file:
                    processes.kill(int(pid) for pid in file.read().split() if int(pid) != os.getpid())
            except FileNotFoundError:
                continue  # the machine was started again: its groups are gone, and so is who was in them

    def _until_next(self, now: float) -> Optional[float]:
        times = [self._execution.next_look() if self._execution else None]
        left = self._fence.left(clock())
        if left:
            times.append(now + left)
        if self._agent is None:
            times.append(self._agent_due)
        if self._unwritten:
            times.append(self._write_due)
        due = min((at for at in times if at is not None), default=None)
        return None if due is None else max(0.0, due - now)

    # The agent

    def _start_agent(self, now: float) -> None:
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become_agent(theirs, parent)
        theirs.close()
        self._agent, self._agent_began = pid, now
        self._channel = Channel(ours, patience=0.0)
        self._selector.register(ours, selectors.EVENT_READ)

    def _become_agent(self, connection: socket.socket, parent: int) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            processes.die_with_parent(parent)
            processes.name_process("footplate-agent")
            self._folder.drop_lock()
            self._selector.close()
            self._wake.close()
            self._woken.close()
            from .agent import serve

            code = serve(self._folder, Channel(connection))
        except BaseException:  # noqa: BLE001 - the keeper starts the agent again; this says why it had to
            jot(traceback.format_exc())
        finally:
            os._exit(code)

    def _listen(self) -> None:
        if self._channel is None:
            return
        try:
            messages = self._channel.receive()
        except (ChannelClosed, ValueError):
            self._hang_up()
            return
        for message in messages:
            self._obey(message)

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._selector.unregister(self._channel.connection)
            self._channel.close()
            self._channel = None

    def _agent_died(self, now: float) -> None:
        self._agent, self._prepares = None, False
        self._listen()  # what it had ordered before it died is done
        self._hang_up()
        if self._execution is None:
            # Its children (git, pip) are ours now, and the next agent starts its own.
            spare = [self._seat.pid] if self._seat is not None else []
            processes.kill(processes.descendants(os.getpid(), spare))
        if now - self._agent_began > _LIVED_WELL:
            self._backoff = _BACKOFF_FIRST
        self._agent_due = now + self._backoff
        self._backoff = min(self._backoff * 2, _BACKOFF_LAST)

    def _end_children(self) -> None:
        for child in (self._agent, self._seat.pid if self._seat is not None else None):
            if child is not None:
                processes.kill([child])
                os.waitpid(child, 0)

    def _tell(self, message: Dict[str, Any]) -> None:
        if self._channel is None:
            return
        try:
            self._channel.send(message)
        except ChannelClosed:
            self._hang_up()  # the files say the same to the next agent

    def _obey(self, message: Dict[str, Any]) -> None:
        order = message.get("do")
        if order == "seat" and self._execution is None:
            self._prepares = True
            self._seat = self._seat or self._take_seat()
            with contextlib.suppress(OSError):  # it is synced for certain before anything starts
                self._folder.sync_start()
        elif order == "start":
            self._execute(message)
        elif order == "heard":
            self._fence.heard(float(message["sent"]))
        elif order == "stop" and self._execution is not None:
            self._execution.stop(str(message["reason"]), float(message["grace"]), time.monotonic())
        elif order == "time_limit" and self._execution is not None:
            seconds = message["seconds"]
            self._execution.limit(None if seconds is None else float(seconds))
        elif order == "end" and self._execution is None:
            self._ended = True

    # The user's program

    def _take_seat(self) -> Seat:
        cgroups = cgroup_paths(self._start.get("cgroup"))
        return Seat(cgroups, self._start.get("cpus") or (), self._folder.drop_lock)

    def _execute(self, message: Dict[str, Any]) -> None:
        number = int(message["execution"])
        now = time.time()
        if self._execution is not None or self._pod_ends or self._fenced:
            return
        self._ran, self._prepares = True, False
        try:
            self._folder.sync_start()
            if not self._folder.mark_started(number, now):
                return
            self._folder.reserve()
        except OSError as error:
            self._write(
                ExitRecord(
                    number,
                    ran=False,
                    ended=now,
                    cause="DiskFull",
                    message=f"Nothing was started: {error.strerror}.",
                )
            )
            return
        start = self._start
        program = Program(
            argv=[str(word) for word in message["argv"]],
            env=dict(message["env"]),
            cwd=message["cwd"],
            output=self._folder.log(number),
        )
        seat, self._seat = self._seat or self._take_seat(), None
        try:
            self._execution = Execution(
                number,
                program,
                seat,
                time_limit=message.get("time_limit"),
                grace=self._grace,
                memory=start.get("memory") if start.get("advisory") else None,
                log_limit=int(start.get("log_limit") or 0),
                started=now,
            )
        except SpawnError as error:
            self._write(
                ExitRecord(
                    number, exit_code=127, ran=False, started=now, ended=time.time(), message=str(error)
                )
            )
            return
        self._tell({"did": "started", "execution": number, "pid": self._execution.pid, "started": now})

    def _reap(self) -> None:
        for pid, status in processes.reap():
            if pid == self._agent:
                self._agent_died(time.monotonic())
            elif self._seat is not None and pid == self._seat.pid:
                self._seat = None
            elif self._execution is not None and pid == self._execution.pid:
                self._execution.root_ended(status, time.monotonic())

    def _look(self) -> None:
        now = time.monotonic()
        if self._unwritten and now >= self._write_due:
            self._write(*self._unwritten)
        spare = [self._agent] if self._agent is not None else []
        if self._pod_ends and self._execution is not None:
            self._execution.stop("taken_away", self._grace, now)
        elif self._pod_ends and not self._ran:
            self._ended = True
        if self._fenced:
            self._end_by_fence(now)
        if self._execution is not None and self._execution.look(now, spare):
            record, self._execution = self._execution.record, None
            self._write(record)

    @property
    def _grace(self) -> float:
        return float(self._start.get("grace", 60))

    @property
    def _fenced(self) -> bool:
        return self._fence.left(clock()) == 0

    def _end_by_fence(self, now: float) -> None:
        """Let nothing run on: the program, or what prepares it. Nothing starts until the service is heard."""
        if self._execution is not None:
            self._execution.stop("fenced", self._grace, now)
        elif self._agent is not None and self._prepares:
            processes.kill([self._agent])  # its children follow when it is reaped

    def _write(self, *records: ExitRecord) -> None:
        """Record ends; on a full disk they wait here, since nobody may believe what is not on it."""
        self._unwritten = []
        for record in records:
            try:
                self._folder.write_exit(record)
            except OSError as error:
                jot(f"exit record {record.execution}: {error}")
                self._folder.use_reserve()
                self._unwritten.append(record)
                self._write_due = time.monotonic() + _WRITE_AGAIN
            else:
                self._tell({"did": "exited", "execution": record.execution})

"""The agent: fetches, prepares, has the keeper execute, ships, uploads, reports.

It may be killed at any instant. Everything that it must remember is in the replica's folder, and everything
that it tells may be told twice, so the next agent reads the folder and goes on. It goes on without the
service as well, and catches up when that is back.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import selectors
import shutil
import socket
import sys
import threading
import time
import traceback
from typing import Any, Dict, Iterator, Optional

from . import bundle, processes
from .api import Api, DeadToken, Interrupted, Refused
from .cache import Cache
from .channel import Channel, ChannelClosed
from .control import Control
from .diagnose import diagnose
from .failure import PreparationFailed, Stopped
from .folder import ExitRecord, ReplicaFolder, jot
from .meeting import LOOPBACK, by_name, hold_port
from .outputs import Left, collect
from .prepare import Plan, prepare
from .saved import last_saved
from .ship import Changes, LogShipper, MetricReader, append_notes, read_tail
from .supplies import Supplies

__all__ = ["serve", "warm"]

_LOG_PAUSE = 0.02
_METRICS_PAUSE = 0.5
_LOOK_EVERY = 1.0  # against a watch that was missed
_LOOK_WITHOUT_WATCH = 0.05
_DEAD_GRACE = 5.0
_CLAIM = 25.0  # seconds that the service may keep a claim waiting
_NO_ROOM = 1 << 20


def warm() -> None:
    """Load what every agent will need, in the process that they are forked from."""
    import encodings.idna  # noqa: F401 - the first look-up of an address imports it

    bundle.contents()


def serve(folder: ReplicaFolder, channel: Channel) -> int:
    """Be the agent of a folder until everything was received, or its keeper is gone."""
    try:
        _Agent(folder, channel).run()
        channel.send({"do": "end"})
    except ChannelClosed:
        return 0  # no keeper, no agent
    return 0


class _Agent:
    def __init__(self, folder: ReplicaFolder, channel: Channel) -> None:
        self._folder, self._channel = folder, channel
        self._start = folder.read_start()
        self._dead = False
        self._api = Api(str(self._start["service"]), str(self._start["token"]), lambda: self._dead)
        self._reports = self._api.another()
        self._gate = threading.Lock()  # a stop and a start never miss each other
        self._stop = threading.Event()
        self._ordered = False  # the keeper was told to start what is wanted
        self._stop_sent: Optional[Dict[str, Any]] = None
        self._limit = self._start.get("time_limit")
        self._current = 0
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._control = Control(
            self._reports,
            usage=self._usage,
            heard=self._heard,
            died=self._died,
            answered=self._answered,
        )

    def run(self) -> None:
        try:
            execution = self._first()
            while execution is not None:
                record = self._carry_out(execution)
                execution = None if record.stopped == "taken_away" else self._next(execution)
        except (DeadToken, Interrupted):
            self._end_program()
        finally:
            self._control.close()

    def _first(self) -> Optional[int]:
        """The execution to begin with, or to go on with."""
        here = self._folder.executions()
        if here or not self._start.get("holder"):
            return max([int(self._start.get("execution", 1)), *here])
        return self._claim()

    def _claim(self) -> Optional[int]:
        """Ask what this pod may run: there may be another for the same replica, or may have been."""
        while True:
            granted = self._api.claim(str(self._start["holder"]), str(self._start.get("node", "")), _CLAIM)
            if granted.get("release"):
                return None
            if granted.get("execution"):
                self._answered(self._api.heard)
                return int(granted["execution"])

    def _next(self, done: int) -> Optional[int]:
        wanted = self._control.wait(
            lambda wanted: self._dead or wanted.get("release") or int(wanted.get("execution", 0)) > done
        )
        if self._dead:
            raise DeadToken
        if wanted.get("release"):
            return None
        return self._claim() if self._start.get("holder") else int(wanted["execution"])

    def _carry_out(self, execution: int) -> ExitRecord:
        with self._gate:
            self._current = execution
            self._stop.clear()
            self._stop_sent = None
            self._ordered = self._folder.started(execution)
        self._control.begin(execution, _surroundings())
        attached = self._ordered
        if not attached and self._folder.read_exit(execution) is None:
            self._get_going(execution)
        logs = LogShipper(self._folder.log(execution), execution, self._api, attached)
        metrics = MetricReader(self._folder.metrics(execution), self._noted_metrics(execution))
        record = self._folder.read_exit(execution)
        if record is None:
            if attached:
                self._control.running(self._folder.started_at(execution))
            record = self._follow(execution, logs, metrics)
        self._finish(record, logs, metrics)
        return record

    # Until the program starts

    def _get_going(self, execution: int) -> None:
        """Prepare, and order the start; whatever prevents it becomes the execution's end."""
        problem: Optional[ExitRecord] = None
        # While a process joins a control group the kernel lets no other begin, so threads come first.
        self._channel.send({"do": "seat"})
        try:
            cache = Cache(str(self._start["cache"]))
            supplies = Supplies(self._api, cache, self._stop, self._control.say, self._control.know)
            plan = prepare(self._start, self._folder, execution, supplies)
            port, gang = self._meet(execution)
            if port is not None:
                port.close()
            self._order(execution, plan, gang)
        except PreparationFailed as failed:
            problem = ExitRecord(execution, cause=failed.code, message=str(failed))
        except Refused as refused:
            sentence = f"The service refused what the replica needs: {refused}."
            problem = ExitRecord(execution, cause="PlatformFault", message=sentence)
        except Stopped:
            problem = ExitRecord(execution, stopped=str((self._stop_sent or {}).get("reason", "cancelled")))
        except (DeadToken, Interrupted, ChannelClosed):
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours is told, not repeated for ever
            jot(traceback.format_exc())
            problem = _fault(execution, error)
        if problem is not None:
            problem.ran, problem.ended = False, time.time()
            self._folder.write_exit(problem)

    def _meet(self, execution: int) -> "tuple[Optional[socket.socket], Dict[str, str]]":
        """Wait for the gang: hold a port that rank 0's may become, until the rendezvous is known."""
        if not self._start.get("gang"):
            return None, {}
        notes = self._folder.read_notes()
        # The port that an agent before this one may have told.
        agreed = self._start.get("meeting") or {}
        told = int(notes.get("port", {}).get(str(execution), agreed.get("port", 0)))
        port = hold_port(str(self._start.get("address") or LOOPBACK), told)
        address, number = port.getsockname()[:2]
        self._folder.write_notes({**notes, "port": {str(execution): number}})
        self._control.ready(address, number)
        wanted = self._control.wait(
            lambda wanted: (
                self._dead
                or self._stop.is_set()
                or (wanted.get("env") is not None and int(wanted.get("execution", 0)) == execution)
            )
        )
        if self._dead:
            raise DeadToken
        if self._stop.is_set():
            raise Stopped
        env = {str(name): str(value) for name, value in wanted["env"].items()}
        return port, by_name(env, str(agreed["name"])) if agreed else env

    def _order(self, execution: int, plan: Plan, gang: Dict[str, str]) -> None:
        for path in (self._folder.log(execution), self._folder.metrics(execution)):
            # There before the program is, so that they can be watched.
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with self._gate:
            if self._stop.is_set():
                raise Stopped
            self._channel.send(
                {
                    "do": "start",
                    "execution": execution,
                    "argv": plan.argv,
                    "env": {**plan.env, **gang},
                    "cwd": plan.cwd,
                    "time_limit": self._limit,
                }
            )
            self._ordered = True

    # While it runs

    def _follow(self, execution: int, logs: LogShipper, metrics: MetricReader) -> ExitRecord:
        """Ship what appears until the keeper has recorded the end."""
        changes = Changes([self._folder.log(execution), self._folder.metrics(execution)])
        look_every = _LOOK_EVERY if changes.descriptor is not None else _LOOK_WITHOUT_WATCH
        log_due = metrics_due = 0.0
        log_new = metrics_new = True
        log_sent = False
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._channel.connection, selectors.EVENT_READ, "keeper")
                selector.register(self._woken, selectors.EVENT_READ, "woken")
                while True:
                    # At once at first, then no more than fifty requests a second.
                    if log_new and time.monotonic() >= log_due:
                        log_new = self._ship(logs)
                        log_sent = log_sent or log_new
                        if log_sent and not log_new:  # having looked in vain is no reason to pause
                            log_due, log_sent = time.monotonic() + _LOG_PAUSE, False
                    if metrics_new and time.monotonic() >= metrics_due:
                        metrics_new = False
                        if self._tell_metrics(execution, metrics):
                            metrics_due = time.monotonic() + _METRICS_PAUSE
                    dues = [due for due, new in ((log_due, log_new), (metrics_due, metrics_new)) if new]
                    wait = min([look_every, *(max(0.0, due - time.monotonic()) for due in dues)])
                    # Watched only while nothing is known to be new: a busy writer must not keep this awake.
                    with _watching(selector, None if log_new else changes.descriptor):
                        ready = {key.data for key, _ in selector.select(wait)}
                    if "keeper" in ready:
                        self._hear_keeper(execution)
                    if "woken" in ready and self._dead:
                        raise DeadToken
                    if "keeper" in ready or not ready:
                        record = self._folder.read_exit(execution)
                        if record is not None:
                            return record
                    if "changes" in ready or not ready:
                        changes.clear()
                        log_new = metrics_new = True
        finally:
            changes.close()

    def _ship(self, logs: LogShipper) -> bool:
        try:
            return logs.ship()
        except Refused as refused:
            jot(f"log: {refused}")  # the file keeps it; it is tried again
            return False

    def _tell_metrics(self, execution: int, metrics: MetricReader) -> bool:
        points = metrics.read()
        if points:
            try:
                self._control.metrics(points)
            except Refused as refused:
                jot(f"metrics: {refused}")
            self._folder.write_notes(
                {**self._folder.read_notes(), "metrics": {str(execution): metrics.offset}}
            )
        return bool(points)

    def _noted_metrics(self, execution: int) -> int:
        return int(self._folder.read_notes().get("metrics", {}).get(str(execution), 0))

    def _hear_keeper(self, execution: int) -> None:
        for message in self._channel.receive():
            if message.get("did") == "started" and message.get("execution") == execution:
                self._control.running(message.get("started"))

    # Once it has ended

    def _finish(self, record: ExitRecord, logs: LogShipper, metrics: MetricReader) -> None:
        left, problem = Left(), None
        try:
            while logs.ship():
                pass
            left = collect(self._folder, self._api) if record.ran and not record.lost else left
            append_notes(self._folder.log(record.execution), left.notes)
            while logs.ship():
                pass
        except Refused as refused:
            code = "DiskFull" if refused.status == 507 else "PlatformFault"
            problem = (code, f"The service did not take what the job left behind: {refused}")
        except OSError as error:
            jot(traceback.format_exc())
            problem = ("PlatformFault", f"What the job left behind could not be read: {error}")
        cause = diagnose(
            record,
            read_tail(self._folder.log(record.execution)),
            self._start,
            error=left.error,
            disk_full=_room(self._folder.path) < _NO_ROOM,
        )
        if cause is None and problem is not None and record.stopped is None:
            cause = {
                "code": problem[0],
                "message": problem[1],
                "role": self._start.get("role"),
                "replica": self._start.get("replica"),
                "execution": record.execution,
            }
        shutil.rmtree(self._folder.secrets, ignore_errors=True)
        self._control.exited(
            {
                "execution": record.execution,
                "exit_code": record.exit_code,
                "signal": record.signal,
                "cause": cause,
                "stopped": record.stopped,
                "ran": record.ran,
                "lost": record.lost,
                "started": record.started,
                "ended": record.ended,
                "log_size": logs.offset,
                "outputs": left.outputs,
                "files": left.files,
                "error": left.error,
                "traceback": left.traceback,
            },
            metrics.read(),
        )

    # What the service wants; on the control's thread, or on the main one

    def _heard(self, wanted: Dict[str, Any]) -> None:
        with self._gate:
            execution = int(wanted.get("execution", 0))
            stop = wanted.get("stop")
            if stop is None and execution > self._current > 0:
                stop = {"reason": "gang", "grace": self._start.get("grace", 60)}
            if stop is not None and execution >= self._current and stop != self._stop_sent:
                self._stop_sent = stop
                if self._ordered:
                    self._tell({"do": "stop", "reason": stop["reason"], "grace": stop.get("grace", 60)})
                self._stop.set()
            limit = wanted.get("time_limit")
            if limit is not None and limit != self._limit and execution == self._current:
                self._limit = limit
                if self._ordered:
                    self._tell({"do": "time_limit", "seconds": limit})
        if self._stop.is_set():
            self._control.wake()

    def _tell(self, order: Dict[str, Any]) -> None:
        try:
            self._channel.send(order)
        except ChannelClosed:
            os._exit(0)  # no keeper, no agent; this may be any thread

    def _answered(self, sent: Optional[float]) -> None:
        if self._start.get("fence_after") and sent is not None:
            self._tell({"do": "heard", "sent": sent})

    def _died(self) -> None:
        self._dead = True
        self._stop.set()
        self._control.wake()
        self._wake.send(b"x")

    def _end_program(self) -> None:
        """The attempt has ended: nothing of it may go on here."""
        self._channel.send({"do": "stop", "reason": "deleted", "grace": _DEAD_GRACE})
        while self._ordered and self._folder.read_exit(self._current) is None:
            if select.select([self._channel.connection], [], [], _LOOK_EVERY)[0]:
                self._channel.receive()

    def _usage(self) -> Dict[str, float]:
        used = processes.usage(processes.descendants(os.getppid(), [os.getpid()]))
        found = {"cpu": used.cpu, "rss": float(used.rss)}
        saved = last_saved(self._start.get("checkpoint"))
        if saved is not None:
            found["saved"] = saved
        return found


@contextlib.contextmanager
def _watching(selector: selectors.BaseSelector, descriptor: Optional[int]) -> Iterator[None]:
    if descriptor is None:
        yield
        return
    selector.register(descriptor, selectors.EVENT_READ, "changes")
    try:
        yield
    finally:
        selector.unregister(descriptor)


def _room(path: str) -> int:
    """Bytes that this user may still write there."""
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


def _surroundings() -> Dict[str, Any]:
    return {"hostname": socket.gethostname(), "agent_python": sys.version.split()[0]}


def _fault(execution: int, error: Exception) -> ExitRecord:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ExitRecord(execution, cause="DiskFull", message=f"A disk of the machine is full: {error}.")
    return ExitRecord(
        execution,
        cause="PlatformFault",
        message=f"The agent failed while it prepared the job ({type(error).__name__}: {error}).",
    )

"""Hears what the service wants and tells it what is, beside the main flow and never in its way.

A thread of its own reports after a moment (a job of a few milliseconds needs no "running"), sends a
heartbeat every ten seconds and holds a request open for the next wish. What is wanted is a state, not a
sequence of orders: a wish that was missed is told again.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Dict, List, Optional

from .api import Api, DeadToken, Interrupted, Refused

__all__ = ["Control"]

_HEARTBEAT = 10.0
_REFUSED_PAUSE = 2.0
_SHORT_JOB = 0.02
_SHORT_PREPARATION = 0.3


class Control:
    """The conversation with the service about one replica.

    Parameters
    ----------
    api
        Its reports go over this connection, its wishes over another.
    usage
        Called for each heartbeat: what the replica uses.
    heard
        Called with every answer, on whichever thread heard it.
    died
        Called when the token is dead.
    answered
        Called after each answer to a report, with the time at which that was sent.
    """

    def __init__(
        self,
        api: Api,
        *,
        usage: Callable[[], Dict[str, float]],
        heard: Callable[[Dict[str, Any]], None],
        died: Callable[[], None],
        answered: Callable[[Optional[float]], None],
    ) -> None:
        self._api, self._wishes = api, api.another()
        self._usage, self._heard, self._died, self._answered = usage, heard, died, answered
        self._changed = threading.Condition()
        self._reporting = threading.Lock()
        self._report: Dict[str, Any] = {}
        self._due = float("inf")
        self._told = False
        self._closed = False
        self._asking = False
        self.wanted: Dict[str, Any] = {}
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def begin(self, execution: int, environment: Dict[str, Any]) -> None:
        """An execution is being prepared; told only if that takes a moment."""
        self._change(
            {"execution": execution, "state": "preparing", "environment": environment}, _SHORT_PREPARATION
        )
        if not self._thread.is_alive():
            self._thread.start()

    def say(self, message: str) -> None:
        """What is going on, told with the next report."""
        with self._changed:
            self._report["message"] = message

    def know(self, name: str, value: str) -> None:
        """What was found out about the execution. Told at once, and with every report after."""
        with self._changed:
            report = {**self._report, "environment": {**self._report.get("environment", {}), name: value}}
        self._change(report, 0.0)

    def running(self, started: Optional[float]) -> None:
        """The program runs."""
        with self._changed:
            report = {**self._report, "state": "running", "message": "", "started": started}
        self._change(report, _SHORT_JOB)
        self._tell_beside()

    def ready(self, address: str, port: int) -> None:
        """The program could start; it waits for its gang. Told at once."""
        with self._changed:
            report = {**self._report, "state": "ready", "message": "", "address": address, "port": port}
        self._change(report, 0.0)
        self._tell_beside()

    def exited(self, report: Dict[str, Any], metrics: List[Dict[str, Any]]) -> None:
        """Everything was uploaded, and this is how it ended; returns when the service has heard it."""
        with self._changed:
            report = {"execution": self._report["execution"], "state": "exited", "exit": report}
        with self._reporting:
            self._change(report, _HEARTBEAT)
            self._post(metrics)

    def metrics(self, points: List[Dict[str, Any]]) -> None:
        """Tell metrics; returns when the service has heard them."""
        with self._reporting:
            self._post(points)

    def wait(self, condition: Callable[[Dict[str, Any]], bool]) -> Dict[str, Any]:
        """Block until what is wanted fulfils a condition."""
        with self._changed:
            self._changed.wait_for(lambda: condition(self.wanted))
            return self.wanted

    def wake(self) -> None:
        """Let `wait` look again."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Say nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _change(self, report: Dict[str, Any], delay: float) -> None:
        with self._changed:
            self._report, self._told = report, False
            self._due = time.monotonic() + delay
            self._changed.notify_all()

    def _tell_beside(self) -> None:
        """Have another thread tell it while this one holds a request open, which may last ten seconds."""
        if self._asking:
            threading.Thread(target=self._tell, name="report", daemon=True).start()

    def _tell(self) -> None:
        time.sleep(max(0.0, self._due - time.monotonic()))
        try:
            with self._reporting:
                if not self._told and not self._closed:
                    self._post([])
        except DeadToken:
            self._died()
        except (Interrupted, Refused):
            return  # the replica ends, or it is told with the next heartbeat

    def _post(self, metrics: List[Dict[str, Any]]) -> None:
        with self._changed:
            now = self._report
            report, state = dict(now), now["state"]
            self._due = time.monotonic() + _HEARTBEAT
        if state == "running":
            report["usage"] = self._usage()
        if metrics:
            report["metrics"] = metrics
        wanted = self._api.report(report)
        self._answered(self._api.heard)
        with self._changed:
            self._told = self._report is now  # else there is more to tell already
            # While a request is held open, what is wanted stays what it was asked with: it answers at once
            # if the service wants anything else, and an older answer must not hide that.
            news = "tag" in wanted and not self._asking
            if news:
                self.wanted = wanted
            self._changed.notify_all()
        if news:
            self._heard(wanted)

    def _ask(self, wait: float) -> None:
        with self._changed:
            if not self._told:
                return  # there is something to tell first
            tag = str(self.wanted.get("tag", ""))
            self._asking = True
        wanted: Dict[str, Any] = {}
        try:
            wanted = self._wishes.desired(tag, wait)
        finally:
            with self._changed:
                self._asking = False
                if "tag" in wanted:
                    self.wanted = wanted
                self._changed.notify_all()
        if "tag" in wanted:
            self._heard(wanted)

    def _run(self) -> None:
        try:
            while not self._closed:
                self._wait_or_ask()
        except DeadToken:
            self._died()
        except Interrupted:
            return  # the replica ends

    def _wait_or_ask(self) -> None:
        with self._changed:
            left = self._due - time.monotonic()
            if left > 0 and not self._told:
                self._changed.wait(left)
                return
        try:
            if left <= 0:
                with self._reporting:
                    if self._due <= time.monotonic() and not self._closed:
                        self._post([])
            else:
                self._ask(max(0.1, round(left, 1)))
        except Refused:
            time.sleep(_REFUSED_PAUSE)  # it has its reasons, and they may pass; the main flow goes on

"""What an agent tells the service, and what it need not tell."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from footplate_agent import control
from footplate_agent.control import Control


class Listener:
    """Stands in for both connections, and remembers."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []
        self.asked = 0
        self.heard = 0.0  # when the last answered request was sent
        self.answered: list[float | None] = []

    def another(self) -> Listener:
        return self

    def report(self, report: dict[str, Any]) -> dict[str, Any]:
        self.reports.append(report)
        self.heard = len(self.reports)
        return {"tag": "1", "execution": 1, "release": report["state"] == "exited"}

    def desired(self, tag: str, wait: float) -> dict[str, Any]:
        self.asked += 1
        raise AssertionError("nobody asked for this")


@pytest.fixture
def listener(monkeypatch) -> Listener:
    # However slow the machine, what follows is faster than this.
    monkeypatch.setattr(control, "_SHORT_JOB", 60.0)
    monkeypatch.setattr(control, "_SHORT_PREPARATION", 60.0)
    return Listener()


def a_control(listener: Listener) -> Control:
    return Control(
        listener,  # type: ignore[arg-type]
        usage=dict,
        heard=lambda wanted: None,
        died=lambda: None,
        answered=listener.answered.append,
    )


def test_a_short_job_costs_one_report(listener):
    one = a_control(listener)
    one.begin(1, {"hostname": "here"})
    one.running(1.0)
    one.exited({"execution": 1, "exit_code": 0}, [])
    one.close()

    assert [report["state"] for report in listener.reports] == ["exited"]
    assert listener.asked == 0
    assert listener.answered == [1]  # the keeper hears when it was sent
    assert one.wait(lambda wanted: bool(wanted.get("release")))["release"]


def test_metrics_travel_with_the_report_of_the_end(listener):
    one = a_control(listener)
    one.begin(1, {})
    one.running(1.0)
    one.exited({"execution": 1, "exit_code": 0}, [{"step": 1, "loss": 0.5}])
    one.close()

    [report] = listener.reports
    assert report["metrics"] == [{"step": 1, "loss": 0.5}]


class Holding(Listener):
    """Holds each request open until the program runs, as long as a heartbeat."""

    def __init__(self) -> None:
        super().__init__()
        self.held, self.runs = threading.Event(), threading.Event()

    def report(self, report: dict[str, Any]) -> dict[str, Any]:
        if report["state"] == "running":
            self.runs.set()
        return super().report(report)

    def desired(self, tag: str, wait: float) -> dict[str, Any]:
        self.held.set()
        assert self.runs.wait(wait), "it was not told while the request was held open"
        return {"tag": "2", "execution": 1}


@pytest.mark.parametrize("gang", [False, True])
def test_what_happens_while_a_request_is_held_open_is_told_at_once(monkeypatch, gang):
    monkeypatch.setattr(control, "_SHORT_PREPARATION", 0.0)
    listener = Holding()
    one = a_control(listener)
    one.begin(1, {})
    assert listener.held.wait(5)
    if gang:
        one.ready("127.0.0.1", 1)
    one.running(1.0)

    assert listener.runs.wait(5)
    one.close()


def test_what_changes_while_a_report_is_on_its_way_is_told_next(monkeypatch):
    monkeypatch.setattr(control, "_SHORT_PREPARATION", 0.0)
    listener = Holding()
    one = a_control(listener)
    first = listener.report

    def report(report: dict[str, Any]) -> dict[str, Any]:
        if report["state"] == "preparing":
            one.running(1.0)
        return first(report)

    listener.report = report  # type: ignore[method-assign]
    one.begin(1, {})

    assert listener.runs.wait(5)
    one.close()

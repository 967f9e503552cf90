"""A replica without a word from the service, where the job bounds how long it may go on so."""

from __future__ import annotations

import time
from pathlib import Path

from footplate_agent.fence import Fence
from support.agent import eventually

POD = {"holder": "u1", "node": "n1"}


def test_it_counts_from_when_the_last_answered_request_was_sent():
    fence = Fence(10.0, 3.0)
    assert fence.left(100.0) == 0  # nothing was heard yet
    fence.heard(100.0)
    assert fence.left(101.0) == 6
    fence.heard(99.0)  # an answer that came late
    assert fence.left(107.0) == 0
    assert Fence(None, 3.0).left(1e9) is None


def test_its_program_is_ended_by_then_and_that_is_told(replica, service):
    one = replica(command=["sleep", "60"], fence_after=4, grace=1, **POD)
    keeper = one.keep()
    eventually(lambda: any(report["state"] == "running" for report in service.reports.get(one.token, [])))
    service.away = True
    began = time.monotonic()
    eventually((one.path / "exit-1.json").exists)
    assert time.monotonic() - began < 4
    service.away = False
    assert keeper.wait(20) == 0
    ended = service.exit(one.token)
    assert (ended["stopped"], ended["signal"]) == ("fenced", 15)


def test_what_prepares_it_is_ended_too_and_begins_again_once_the_service_is_heard(replica, service, tmp_path):
    runs = tmp_path / "runs"
    script = f"echo $$ >> {runs}; test -e {tmp_path}/again || exec sleep 60"
    one = replica(setup={"script": script, "time_limit": 90}, fence_after=3, grace=1, **POD)
    keeper = one.keep()
    prepares = eventually(lambda: runs.exists() and runs.read_text().split())
    service.away = True
    eventually(lambda: not Path(f"/proc/{prepares[0]}").exists())
    (tmp_path / "again").touch()
    time.sleep(0.5)
    assert len(runs.read_text().split()) == 1  # nobody began again unheard
    service.away = False
    assert keeper.wait(30) == 0
    assert (service.exit(one.token)["exit_code"], len(runs.read_text().split())) == (0, 2)

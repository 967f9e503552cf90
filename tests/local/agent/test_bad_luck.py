"""SIGKILL at any instant, a service that is away, a dead token: one recorded end, no hole in the log."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from support.agent import eventually

COUNT = """
import pathlib, sys, time
runs = pathlib.Path(sys.argv[1]); runs.write_text(runs.read_text() + 'x' if runs.exists() else 'x')
for i in range(200):
    print(i, flush=True)
    time.sleep(0.01)
"""
COUNTED = "".join(f"{i}\n" for i in range(200))


def counting(tmp_path: Path) -> list[str]:
    return ["python", "-c", COUNT, str(tmp_path / "runs")]


@pytest.mark.parametrize("seed", range(2))
def test_an_agent_that_is_killed_again_and_again_loses_nothing(replica, service, tmp_path, seed):
    chance = random.Random(seed)
    one = replica(command=counting(tmp_path))
    keeper = one.keep()
    killed = 0

    while keeper.poll() is None and killed < 12:
        time.sleep(chance.uniform(0.0, 0.25))
        agent = one.agent()
        if agent is not None:
            os.kill(agent, signal.SIGKILL)
            killed += 1

    assert keeper.wait(60) == 0
    assert killed > 3
    assert one.log == COUNTED
    assert (tmp_path / "runs").read_text() == "x"
    assert {report["exit"]["exit_code"] for report in service.reports[one.token] if report.get("exit")} == {0}


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03, 0.06, 0.1, 0.2, 0.5, 1.0])
def test_a_killed_keeper_leaves_nobody_and_the_next_one_tells(replica, service, tmp_path, delay):
    one = replica(command=counting(tmp_path))
    first = one.keep()
    time.sleep(0.12 + delay)
    first.kill()
    first.wait()

    second = one.keep()

    assert second.wait(60) == 0
    runs = (tmp_path / "runs").read_text() if (tmp_path / "runs").exists() else ""
    assert len(runs) <= 1
    ended = service.exit()
    if ended["lost"]:
        assert ended["cause"]["code"] == "NodeLost"
        assert COUNTED.startswith(one.log)
        assert one.log == (one.path / "output-1").read_text() if (one.path / "output-1").exists() else True
    else:
        assert one.log == COUNTED
    assert one.processes() == []


def test_keeper_and_agent_killed_at_once(replica, service, tmp_path):
    one = replica(command=counting(tmp_path))
    first = one.keep()
    eventually(lambda: one.log)
    agent = one.agent()
    first.kill()
    os.kill(agent, signal.SIGKILL)
    first.wait()

    assert one.keep().wait(60) == 0

    assert service.exit()["lost"] is True
    assert (tmp_path / "runs").read_text() == "x"


def test_a_process_that_hides_from_its_group_dies_with_a_killed_keeper(replica, service):
    one = replica(command="setsid sleep 1000 & echo up; sleep 1000")
    first = one.keep()
    eventually(lambda: one.log)
    first.kill()
    first.wait()

    assert one.keep().wait(60) == 0

    assert one.processes() == []


def test_a_killed_seat_is_taken_again_and_the_program_runs_once(replica, service, tmp_path):
    digest = service.put(b"print('from a blob')")
    service.away = True
    function = {"payload": {"encoding": "source", "digest": digest}, "inputs": {}, "outputs": []}
    one = replica(source={"function": function}, command=None)
    keeper = one.keep()

    os.kill(eventually(one.seat), signal.SIGKILL)
    service.away = False

    assert keeper.wait(30) == 0
    assert service.exit()["exit_code"] == 0
    assert one.log == "from a blob\n"


def test_a_chain_of_processes_that_fork_and_end_is_swept(replica):
    chain = """
import os
if os.fork(): os._exit(0)
while not os.fork(): os.setsid()
"""
    one = replica(command=["python", "-c", chain])

    ended = one.run()

    assert ended["exit_code"] == 0
    assert one.processes() == []


def test_a_keeper_ignores_signals_meant_for_sessions(replica, service):
    one = replica(command="echo up; sleep 1; echo done")
    keeper = one.keep()
    eventually(lambda: one.log)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        os.kill(keeper.pid, number)

    assert keeper.wait(20) == 0
    assert one.log == "up\ndone\n"


def test_the_program_runs_while_the_service_is_away_and_all_arrives_after(replica, service, tmp_path):
    service.stop()
    one = replica(command=counting(tmp_path))
    keeper = one.keep()
    eventually((one.path / "exit-1.json").exists)

    service.start()

    assert keeper.wait(30) == 0
    assert one.log == COUNTED
    assert service.exit()["exit_code"] == 0


def test_a_service_that_comes_and_goes_makes_no_hole(replica, service, tmp_path):
    one = replica(command=counting(tmp_path))
    keeper = one.keep()
    for _ in range(6):
        time.sleep(0.15)
        service.stop()
        time.sleep(0.1)
        service.start()
        service.lose_answers = 2

    assert keeper.wait(60) == 0
    assert one.log == COUNTED


def test_the_time_limit_holds_while_the_service_is_away(replica, service):
    service.away = True
    one = replica(command="sleep 100", time_limit=1, grace=1)
    keeper = one.keep()

    eventually((one.path / "exit-1.json").exists)
    service.away = False

    assert keeper.wait(30) == 0
    assert service.exit()["stopped"] == "time_limit"


def test_a_dead_token_ends_the_program_and_the_agent(replica, service):
    one = replica(command="echo up; sleep 1000")
    keeper = one.keep()
    eventually(lambda: one.log)

    service.dead_tokens.add(one.token)
    service.want()

    assert keeper.wait(30) == 0
    assert one.processes() == []


def test_a_stop_before_the_start_means_that_nothing_ran(replica, service, tmp_path):
    service.want(stop={"reason": "cancelled", "grace": 1})
    one = replica(command=counting(tmp_path), gang=True)

    ended = one.run()

    assert (ended["ran"], ended["stopped"]) == (False, "cancelled")
    assert not (tmp_path / "runs").exists()


def test_a_log_over_its_limit_keeps_head_and_tail_and_tells_the_gap(replica, service):
    service.away = True
    program = "for i in range(400000): print(f'{i:09d}')"
    one = replica(command=["python", "-c", program + "\nimport time; time.sleep(1.2)"], log_limit=1 << 20)
    keeper = one.keep()
    eventually((one.path / "exit-1.json").exists)
    on_disk = os.stat(one.path / "output-1").st_blocks * 512

    service.away = False

    assert keeper.wait(30) == 0
    (start, end) = service.gaps[one.token, 1][0]
    log = service.logs[one.token, 1]
    expected = "".join(f"{i:09d}\n" for i in range(400000)).encode()
    assert on_disk < 2 << 20
    assert len(log) == len(expected)
    assert log[:start] == expected[:start]
    assert log[end:] == expected[end:]
    assert end - start > 2 << 20

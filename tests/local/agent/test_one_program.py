"""One program, from start.json to its recorded end."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest

from support.agent import eventually


def test_a_program_runs_and_its_output_and_exit_arrive(replica, service):
    one = replica(command=["sh", "-c", "echo hello; exit 3"])

    ended = one.run()

    assert one.log == "hello\n"
    assert (ended["exit_code"], ended["signal"], ended["ran"], ended["lost"]) == (3, None, True, False)
    assert ended["log_size"] == 6
    assert ended["cause"]["code"] == "UserError"
    assert "exit code 3" in ended["cause"]["message"]


def test_a_program_without_output_asks_for_nothing_but_what_is_wanted(replica, service):
    ended = replica(command=["true"]).run()

    assert ended["exit_code"] == 0
    assert ended["cause"] is None
    assert {path for _, path in service.requests} <= {"agent/report", "agent/desired"}


def test_a_string_runs_in_a_shell(replica):
    one = replica(command="echo $((20 + 22)) | cat")

    one.run()

    assert one.log == "42\n"


def test_the_program_sees_what_the_contract_promises(replica, tmp_path):
    code = "import os, json; print(json.dumps(dict(os.environ)))"
    one = replica(command=["python", "-c", code], env={"LR": "0.1"}, replicas=2, gpus=[1, 3])

    one.run()

    env = json.loads(one.log)
    assert {name: env[f"FOOTPLATE_{name}"] for name in ("JOB", "ATTEMPT", "ROLE", "REPLICA", "REPLICAS")} == {
        "JOB": "job-aaaaaa",
        "ATTEMPT": "job-aaaaaa-a1",
        "ROLE": "worker",
        "REPLICA": "0",
        "REPLICAS": "2",
    }
    assert env["FOOTPLATE_USER"] == "ada"
    assert env["FOOTPLATE_GROUP"] == "research/vision"
    assert env["FOOTPLATE_EXECUTION"] == "1"
    assert env["FOOTPLATE_REPLICA_DIR"] == str(one.path)
    assert os.path.isdir(env["FOOTPLATE_CHECKPOINT"])
    assert env["LR"] == "0.1"
    assert env["CUDA_VISIBLE_DEVICES"] == "1,3"
    assert env["PATH"].startswith(os.path.dirname(sys.executable) + ":")
    assert "FOOTPLATE_TOKEN_FILE" not in env
    assert not any("fpr." in value for value in env.values())


def test_no_gpu_means_that_none_is_visible(replica):
    one = replica(command="echo [$CUDA_VISIBLE_DEVICES]")

    one.run()

    assert one.log == "[]\n"


def test_a_command_that_is_not_there_is_named(replica):
    ended = replica(command=["no-such-program", "-x"]).run()

    assert ended["ran"] is False
    assert ended["exit_code"] == 127
    assert ended["cause"]["message"] == (
        "The command 'no-such-program' was not found; check its name and the job's PATH."
    )


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("kill -9 $$", "UserError", "SIGKILL"),
        ("sh -c 'kill -9 $$'; exit $?", "UserError", "exit code 137 (SIGKILL"),
        ("kill -SEGV $$", "UserError", "SIGSEGV"),
        ("echo 'cp: error writing: No space left on device'; exit 1", "DiskFull", "No space left on device"),
    ],
    ids=["killed", "137", "segfault", "disk full"],
)
def test_a_bad_end_is_explained_in_one_sentence(replica, command, code, said):
    ended = replica(command=command).run()

    assert ended["cause"]["code"] == code
    assert said in ended["cause"]["message"]


def test_the_last_line_of_a_traceback_is_quoted(replica):
    ended = replica(command=["python", "-c", "{}['lr']"]).run()

    assert ended["cause"]["message"] == "The program failed: KeyError: 'lr'"


def test_the_time_limit_gives_time_to_write_a_checkpoint(replica):
    program = """
import os, pathlib, signal, sys, time
def save(*_):
    pathlib.Path(os.environ['FOOTPLATE_CHECKPOINT'], 'step').write_text('7')
    print('saved'); sys.exit(0)
signal.signal(signal.SIGTERM, save)
print('training', flush=True)
time.sleep(60)
"""
    one = replica(command=["python", "-c", program], time_limit=1)

    ended = one.run()

    assert one.log == "training\nsaved\n"
    assert ended["stopped"] == "time_limit"
    assert ended["cause"]["code"] == "TimeLimit"


def test_a_program_that_ignores_the_signal_is_killed_after_its_grace(replica):
    one = replica(command="trap '' TERM; echo on; while :; do sleep 0.1; done", time_limit=1, grace=1)

    ended = one.run()

    assert ended["stopped"] == "time_limit"
    assert ended["signal"] == signal.SIGKILL


def test_a_stop_ends_the_whole_tree(replica, service):
    one = replica(command="sleep 100 & setsid sleep 100 & echo up; wait")
    keeper = one.keep()
    eventually(lambda: one.log)

    service.want(stop={"reason": "cancelled", "grace": 1})

    assert keeper.wait(20) == 0
    ended = service.exit()
    assert ended["stopped"] == "cancelled"
    assert ended["cause"] is None
    assert one.processes() == []


def test_the_time_limit_can_be_extended_while_it_runs(replica, service):
    one = replica(command="echo up; sleep 2; echo done", time_limit=1)
    keeper = one.keep()
    eventually(lambda: one.log)

    service.want(time_limit=60)

    assert keeper.wait(20) == 0
    assert service.exit()["exit_code"] == 0
    assert one.log == "up\ndone\n"


def test_what_the_program_leaves_running_is_swept(replica):
    stubborn = """setsid sh -c 'trap "" TERM; while :; do sleep 0.01; done' &"""
    one = replica(command=f"for i in 1 2 3 4 5; do ({stubborn}); done; echo left")

    ended = one.run()

    assert ended["exit_code"] == 0
    assert one.processes() == []


def test_memory_over_the_limit_ends_the_program_with_a_clear_sentence(replica):
    hog = "import time; a = bytearray(300 << 20); time.sleep(30)"
    one = replica(command=["python", "-c", hog], memory=100 << 20)

    ended = one.run()

    assert ended["cause"]["code"] == "OutOfMemory"
    assert "more than the 0.10 GiB that the job asked for" in ended["cause"]["message"]


def test_metrics_arrive_while_the_program_runs(replica, service):
    program = "import footplate as fp, time; fp.report(step=1, loss=0.5); fp.report(step=2); time.sleep(3)"
    one = replica(command=["python", "-c", program])
    keeper = one.keep()

    points = eventually(lambda: [p for r in service.reports.get(one.token, []) for p in r.get("metrics", [])])
    service.want(stop={"reason": "cancelled", "grace": 0})
    keeper.wait(20)

    assert points[0]["step"] == 1
    assert points[0]["values"] == {"loss": 0.5}


def test_fifty_megabytes_arrive_whole(replica):
    one = replica(
        command=["python", "-c", "import sys\nfor i in range(50): sys.stdout.write('x' * (1 << 20))"]
    )

    ended = one.run()

    assert ended["log_size"] == len(one.log) == 50 << 20


def test_a_second_keeper_does_nothing(replica, service):
    one = replica(command="echo once; sleep 1")
    first = one.keep()
    eventually(lambda: one.log)

    second = one.keep()

    assert second.wait(10) == 0
    assert first.poll() is None
    assert first.wait(20) == 0
    assert one.log == "once\n"


def test_the_next_execution_runs_when_the_service_says_so(replica, service):
    service.release = False
    one = replica(command="echo $FOOTPLATE_EXECUTION; test $FOOTPLATE_EXECUTION = 2")
    keeper = one.keep()
    eventually(lambda: service.exit(execution=1))

    service.want(execution=2)
    eventually(lambda: service.exit(execution=2))
    service.want(release=True)

    assert keeper.wait(20) == 0
    assert service.exit(execution=1)["exit_code"] == 1
    assert service.exit(execution=2)["exit_code"] == 0
    assert service.log(one.token, 2) == "2\n"

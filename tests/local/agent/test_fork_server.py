"""The fork server: fast starts, and nothing that depends on its life."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.agent import Replica, eventually


class ForkServer:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.socket = root / "run" / "fork.sock"
        self.process: subprocess.Popen[bytes] | None = None
        self.connection: socket.socket | None = None
        self.events: list[dict[str, Any]] = []
        self.number = 0

    def start(self, *command: str) -> None:
        command = command or (sys.executable, "-m", "footplate_agent.forkserver")
        self.process = subprocess.Popen(
            [*command, "--socket", str(self.socket), "--root", str(self.root / "replicas")]
        )
        eventually(self._answers)  # a killed one's socket may still lie there
        self.connect()

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def connect(self) -> None:
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(str(self.socket))
        self.lines = self.connection.makefile("r")

    def send(self, **message: Any) -> int:
        self.number += 1
        self.connection.sendall(json.dumps({"id": self.number, **message}).encode() + b"\n")
        return self.number

    def receive(self) -> dict[str, Any]:
        return json.loads(self.lines.readline())

    def ask(self, **message: Any) -> dict[str, Any]:
        number = self.send(**message)
        while True:
            answer = self.receive()
            if answer.get("id") == number:
                return answer
            self.events.append(answer)

    def event(self) -> dict[str, Any]:
        return self.events.pop(0) if self.events else self.receive()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.lines.close()
        self.connection.close()


@pytest.fixture
def fork_server(tmp_path: Path) -> Iterator[ForkServer]:
    server = ForkServer(tmp_path)
    server.start()
    yield server
    if server.process.poll() is None:
        server.kill()


@pytest.fixture
def forked(fork_server: ForkServer, replica: Callable[..., Replica]) -> Iterator[Callable[..., Replica]]:
    """Makes replicas that the fork server starts, and kills them through it."""
    made: list[Replica] = []

    def make(**start: Any) -> Replica:
        made.append(replica(**start))
        return made[-1]

    yield make
    if fork_server.process.poll() is not None:
        fork_server.start()
    for one in made:
        fork_server.ask(do="kill", dir=one.name)


def test_a_started_replica_runs_and_its_end_is_told(fork_server, forked, service):
    one = forked(command=["echo", "hello"])

    answer = fork_server.ask(do="start", dir=one.name, start=one.start)
    told = fork_server.event()

    assert answer["pid"] > 0
    assert told == {"event": "ended", "dir": one.name}
    assert one.log == "hello\n"
    assert service.exit(one.token)["exit_code"] == 0


def test_only_its_user_may_look_into_a_replica(fork_server, forked):
    one = forked()

    fork_server.ask(do="start", dir=one.name, start=one.start)
    fork_server.event()

    assert stat.S_IMODE(os.stat(one.path).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(one.path / "start.json").st_mode) == 0o600
    assert stat.S_IMODE(os.stat(fork_server.socket).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(fork_server.socket.parent).st_mode) == 0o700


@pytest.mark.parametrize(
    "name", ["../x", "a/../../b-0", "/etc/x-0", "a-a1", "a-a1/worker", "A/b-0", "a\n/b-0", "", None, 3]
)
def test_a_folder_that_is_none_of_ours_is_refused(fork_server, name, tmp_path):
    answer = fork_server.ask(do="start", dir=name, start={})

    assert answer["ok"] is False
    assert "is not a replica's folder" in answer["error"]


def test_starting_again_without_a_folder_says_what_is_missing(fork_server):
    answer = fork_server.ask(do="start", dir="job-aaaaaa-a1/worker-0", start=None)

    assert answer["ok"] is False
    assert "send it" in answer["error"]


def test_an_unknown_order_is_answered_and_broken_json_hangs_up(fork_server):
    assert fork_server.ask(do="dance")["ok"] is False
    fork_server.connection.sendall(b"{{{\n")
    assert fork_server.lines.readline() == ""
    fork_server.connect()
    assert fork_server.ask(do="list")["replicas"] == []


def test_a_keeper_outlives_its_fork_server_and_the_next_one_tells_its_end(fork_server, forked, service):
    one = forked(command="echo up; sleep 2; echo done")
    fork_server.ask(do="start", dir=one.name, start=one.start)
    eventually(lambda: one.log)

    fork_server.kill()
    fork_server.start()
    listed = fork_server.ask(do="list")["replicas"]

    assert listed == [{"dir": one.name, "alive": True, "pid": listed[0]["pid"]}]
    assert fork_server.event() == {"event": "ended", "dir": one.name}
    assert one.log == "up\ndone\n"


def test_kill_ends_everything_of_a_replica_and_a_new_keeper_records_it_as_lost(fork_server, forked, service):
    one = forked(command="env -i setsid sleep 1000 & setsid sleep 1000 & echo up; wait")
    fork_server.ask(do="start", dir=one.name, start=one.start)
    eventually(lambda: one.log)

    assert fork_server.ask(do="kill", dir=one.name)["ok"]
    assert one.processes() == []
    assert fork_server.event()["event"] == "ended"
    assert fork_server.ask(do="start", dir=one.name, start=None)["ok"]
    fork_server.event()

    assert service.exit(one.token)["lost"] is True


def test_a_living_replica_is_not_removed_and_an_ended_one_is(fork_server, forked):
    one = forked(command="echo up; sleep 1000")
    fork_server.ask(do="start", dir=one.name, start=one.start)
    eventually(lambda: one.log)

    refused = fork_server.ask(do="remove", dir=one.name)
    fork_server.ask(do="kill", dir=one.name)
    removed = fork_server.ask(do="remove", dir=one.name)

    assert refused["ok"] is False
    assert "keeper lives" in refused["error"]
    assert removed["ok"] is True
    assert not one.path.exists()
    assert fork_server.ask(do="remove", dir=one.name)["ok"] is True


def test_many_are_started_over_one_connection(fork_server, forked, service):
    many = [forked(index=i, command=["echo", str(i)]) for i in range(30)]

    numbers = [fork_server.send(do="start", dir=one.name, start=one.start) for one in many]
    answers = [fork_server.receive() for _ in range(2 * len(many))]

    assert {answer["id"] for answer in answers if "id" in answer and answer["ok"]} == set(numbers)
    assert sum("event" in answer for answer in answers) == len(many)
    assert all(service.exit(one.token)["exit_code"] == 0 for one in many)


def test_a_service_that_does_not_read_for_a_while_is_not_cut_off(fork_server):
    count = 2000

    for _ in range(count):
        fork_server.send(do="dance")
    answers = [fork_server.receive() for _ in range(count)]

    assert [answer["id"] for answer in answers] == list(range(1, count + 1))


def test_end_ends_the_fork_server_only(fork_server, forked):
    one = forked(command="echo up; sleep 1; echo done")
    fork_server.ask(do="start", dir=one.name, start=one.start)
    eventually(lambda: one.log)

    fork_server.ask(do="end")

    assert fork_server.process.wait(10) == 0
    assert not fork_server.socket.exists()
    assert eventually(lambda: one.log == "up\ndone\n")


def test_a_user_who_is_not_named_is_not_answered(tmp_path):
    path = tmp_path / "run" / "fork.sock"
    nobody_here = "{os.getuid() + 1}"
    code = (
        "import os, sys; from footplate_agent.forkserver import ForkServer; "
        f"ForkServer({str(path)!r}, {str(tmp_path)!r}, {nobody_here}).serve()"
    )
    server = subprocess.Popen([sys.executable, "-c", code])
    try:
        eventually(path.exists)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            heard = connection.recv(99)
    finally:
        server.kill()
        server.wait()

    assert heard == b""


def test_the_archive_alone_is_enough(tmp_path, replica, service):
    archive = tmp_path / "footplate-agent.pyz"
    subprocess.run([sys.executable, "-m", "footplate_agent.zipapp", str(archive)], check=True)
    server = ForkServer(tmp_path)
    payload = service.put(b"print('from a cell')\nx = 3")
    function = {"payload": {"encoding": "source", "digest": payload}, "outputs": ["x"]}
    one = replica(source={"function": function}, command=None)
    try:
        server.start(sys.executable, "-I", str(archive), "forkserver")
        server.ask(do="start", dir=one.name, start=one.start)
        assert server.event()["event"] == "ended"
    finally:
        server.kill()

    assert one.log == "from a cell\n"
    assert service.exit(one.token)["outputs"]["x"]["encoding"] == "pickle"

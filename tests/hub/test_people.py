"""An ordinary user's platform, and a server for several people: everything as the right OS user."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from support.accounts import Account, account, missing_for_accounts
from support.released import Released, open_python
from support.up import Home, VisitError, Visitor, home, wait_until

pytestmark = [
    pytest.mark.skipif(missing_for_accounts() is not None, reason=missing_for_accounts() or ""),
    pytest.mark.skipif(open_python() is None, reason="needs a Python that other users may run"),
]


class Server(Home):
    """A platform for several people."""

    def __init__(self, path: Path, command: str, service: Account) -> None:
        super().__init__(path, command)
        self.service = service
        self.environment["FOOTPLATE_DIR"] = str(self.data)

    def start(self) -> None:
        """Start it, or again."""
        done = self.footplate(
            "up", "--detach", "--multi-user", "--port", str(self.port), "--service-user", self.service.name,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def mine(self) -> dict[str, str]:
        """User by kind, of every process that names the folder."""
        found = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = " ".join(process.cmdline())
                if str(self.data) in words or process.environ().get("FOOTPLATE_DEV_OF") == str(self.data):
                    for mark in (
                        "footplate_hub.launcher",
                        "singleuser",
                        "ipykernel",
                        "forkserver",
                        "traefik",
                    ):
                        if mark in words:
                            found[mark] = process.username()
        with contextlib.suppress(FileNotFoundError):  # it is down
            supervisor = json.loads((self.data / "status.json").read_text())["supervisor"]["pid"]
            found["supervisor"] = psutil.Process(supervisor).username()
        return found


@pytest.fixture(scope="module")
def ada() -> Iterator[Account]:
    with account() as found:
        yield found


@pytest.fixture(scope="module")
def server(release: Released) -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="fp-server-"))
    folder.chmod(0o755)
    with account(system=True) as service:
        found = Server(folder, release.footplate, service)
        try:
            found.start()
            yield found
        finally:
            found.footplate("down", check=False)
            wait_until(lambda: not found.mine(), limit=30)
            shutil.rmtree(folder, ignore_errors=True)


def test_an_ordinary_user_runs_a_platform_of_their_own(release: Released) -> None:
    with account() as person, home(command=release.footplate, user=person.name) as found:
        found.up()
        visitor = found.visitor()
        visitor.start_machine()
        ran = visitor.start_kernel().run("%%train -o who\nimport os\nwho = os.getuid()\nprint('as', who)")
        users = {psutil.Process(pid).username() for pids in found.processes().values() for pid in pids}
        found.down()

    assert "as " in ran.text
    assert users == {person.name}
    assert visitor.name == person.name


def test_people_log_in_with_their_password_and_with_nothing_else(server: Server, ada: Account) -> None:
    with pytest.raises(VisitError):
        Visitor(server.address).log_in_as(ada.name, "wrong")
    with pytest.raises(VisitError):
        Visitor(server.address).log_in_as("nobody-here", ada.password)

    visitor = Visitor(server.address)
    visitor.log_in_as(ada.name, ada.password)

    assert visitor.name == ada.name
    assert httpx.get(f"{server.address}/hub/link?token=x").status_code == 404


def test_dev_machine_kernel_and_job_are_processes_of_their_person(server: Server, ada: Account) -> None:
    visitor = Visitor(server.address)
    visitor.log_in_as(ada.name, ada.password)
    visitor.start_machine()
    kernel = visitor.start_kernel()

    here = kernel.run("import os; print(os.getuid(), os.getcwd(), os.environ['HOME'])").text.split()
    kernel.run("%%train -o who\nimport os\nwho = os.getuid()")
    there = kernel.run("import footplate as fp; print(who, fp.me().name, fp.me().admin)").text.split()

    assert here[1:] == [str(ada.home), str(ada.home)]
    assert there == [here[0], ada.name, "False"]
    users = server.mine()
    assert {users[kind] for kind in ("singleuser", "ipykernel", "forkserver")} == {ada.name}
    assert {users[kind] for kind in ("footplate_hub.launcher", "supervisor")} == {"root"}
    assert psutil.Process(server.pid("service")).username() == server.service.name


def test_one_person_cannot_look_into_what_is_the_platforms(server: Server, ada: Account) -> None:
    closed = [server.data / name for name in ("hub", "service", "log", "login", "proxy", "platform.json")]
    tried = _as(ada, [["/bin/ls", str(server.data)], *(["/bin/cat", str(path)] for path in closed)])

    assert all(tried)


def test_a_server_refuses_to_become_one_persons_platform(server: Server, tmp_path: Path) -> None:
    server.footplate("down")

    refused = server.footplate("up", "--detach", "--one-person", check=False)

    assert refused.returncode == 3
    assert "was made for several people" in refused.stderr
    server.start()
    assert json.loads(server.footplate("status", "--json").stdout)["children"].keys() == {
        "service", "launcher", "hub", "traefik",
    }  # fmt: skip


def test_without_a_user_for_the_service_one_sentence_says_how_to_make_one(
    tmp_path: Path, release: Released
) -> None:
    words = ["up", "--multi-user", "--service-user", "no-such-user", "--dir", str(tmp_path / "data")]

    with home(command=release.footplate) as found:
        refused = found.footplate(*words, "--port", str(found.port), check=False)

    assert refused.returncode == 3
    assert "useradd --system --no-create-home no-such-user" in refused.stderr


def _as(person: Account, commands: list[list[str]]) -> list[bool]:
    """Whether each command failed, run as this person."""
    return [
        subprocess.run(
            command, user=person.name, group=person.name, extra_groups=[], capture_output=True, check=False,
            cwd="/", env={"PATH": os.defpath},
        ).returncode != 0
        for command in commands
    ]  # fmt: skip

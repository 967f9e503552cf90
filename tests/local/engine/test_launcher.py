"""The launcher, as root and with real accounts: people's jobs are people's processes, and nothing more."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from footplate_hub.engines import Attempt, EngineError, PlacedReplica
from footplate_hub.engines.local import LocalEngine
from footplate_hub.settings import Settings
from footplate_hub.tokens import ReplicaTokens
from footplate_spec import JobSpec
from support.control import eventually

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, which the launcher runs as"),
    pytest.mark.skipif(shutil.which("useradd") is None, reason="needs useradd"),
]


@dataclass
class Lab:
    """A launcher that runs, a service's account, and two people."""

    root: Path
    python: str
    socket: Path
    service: str
    people: tuple[str, str]

    def ask(self, as_user: str | None = None, **message: Any) -> dict[str, Any]:
        """A question in a process of the service's user (or another), since credentials are checked."""
        account = pwd.getpwnam(as_user or self.service)
        script = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
            "s.sendall(sys.argv[2].encode() + b'\\n'); print(s.makefile().readline())"
        )
        done = subprocess.run(
            ["/usr/bin/env", "python3", "-c", script, str(self.socket), json.dumps(message)],
            user=account.pw_uid, group=account.pw_gid, extra_groups=[], capture_output=True, text=True,
            cwd="/", timeout=30, check=False,
        )  # fmt: skip
        if done.returncode:
            return {"ok": False, "error": done.stderr.strip().splitlines()[-1]}
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


def _python_for_everyone(root: Path) -> str:
    """An interpreter that every account may start, with nothing but the agent and the launcher in it."""
    for base in (getattr(sys, "_base_executable", sys.executable), "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            started = subprocess.run([base, "-I", "-c", ""], user=65534, group=65534, cwd="/", check=False)
            if started.returncode == 0:
                break
    else:
        pytest.skip("needs a Python that other accounts may start")
    subprocess.run([base, "-m", "venv", "--without-pip", root / "venv"], check=True)
    [packages] = (root / "venv").glob("lib/python3*/site-packages")
    hub = Path(__file__).parents[3] / "hub"
    for name in ("footplate_agent", "footplate_hub/launcher"):
        shutil.copytree(hub / name, packages / name)
    (packages / "footplate_hub" / "__init__.py").touch()
    for path in (root / "venv").rglob("*"):
        path.chmod(path.stat().st_mode | 0o044 | (0o011 if path.is_dir() else 0))
    return str(root / "venv" / "bin" / "python")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    mark = secrets.token_hex(3)
    names = [f"fp{mark}{letter}" for letter in "sab"]
    root = Path(tempfile.mkdtemp(prefix="fplab-"))
    root.chmod(0o755)
    python = _python_for_everyone(root)
    made: list[str] = []
    launcher = None
    try:
        for name in names:
            subprocess.run(["useradd", "--create-home", name], check=True, capture_output=True)
            made.append(name)
        path = root / "launcher.sock"
        launcher = subprocess.Popen(
            [
                *(python, "-m", "footplate_hub.launcher", "--socket", str(path)),
                *("--service-user", names[0], "--users-root", str(root / "users")),
            ],
            cwd="/",
        )
        deadline = time.monotonic() + 10
        while not path.exists():
            assert launcher.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield Lab(root, python, path, names[0], (names[1], names[2]))
    finally:
        if launcher is not None:
            launcher.kill()
            launcher.wait()
        for name in made:
            uid = pwd.getpwnam(name).pw_uid
            for folder in Path("/proc").iterdir():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
                    if folder.name.isdigit() and folder.stat().st_uid == uid:
                        os.kill(int(folder.name), 9)
            time.sleep(0.1)
            subprocess.run(["userdel", "--remove", name], check=False, capture_output=True)
        shutil.rmtree(root, ignore_errors=True)


def test_only_the_service_is_answered(lab):
    ada, _ = lab.people
    assert lab.ask(do="folder", user=ada)["ok"]
    answer = lab.ask(as_user=ada, do="folder", user=ada)
    assert not answer["ok"]
    assert "Permission denied" in answer["error"]


def test_a_persons_folder_is_the_persons_alone(lab):
    ada, _ = lab.people
    folder = Path(lab.ask(do="folder", user=ada)["folder"])
    assert (folder.stat().st_uid, folder.stat().st_mode & 0o777) == (pwd.getpwnam(ada).pw_uid, 0o700)


@pytest.mark.parametrize(
    ("user", "says"),
    [
        ("root", "root is an account of the system; jobs run as people's accounts only."),
        ("nobody", "nobody is an account of the system; jobs run as people's accounts only."),
        ("mallory-x", "mallory-x has no account on this machine; ask its administrator for one."),
        ("../root", "That is not the name of a person."),
        (7, "That is not the name of a person."),
    ],
)
def test_nothing_is_done_as_the_system_or_as_nobody(lab, user, says):
    for message in (
        {"do": "folder"},
        {"do": "connect"},
        {"do": "list"},
        {"do": "signal", "pid": 1, "signal": 9},
    ):
        assert lab.ask(user=user, **message)["error"] == says


def test_a_person_signals_own_processes_only(lab):
    ada, bob = (pwd.getpwnam(name) for name in lab.people)
    sleeper = subprocess.Popen(["sleep", "600"], user=ada.pw_uid, group=ada.pw_gid, extra_groups=[], cwd="/")
    try:
        assert sleeper.pid in lab.ask(do="list", user=ada.pw_name)["pids"]
        assert sleeper.pid not in lab.ask(do="list", user=bob.pw_name)["pids"]
        assert not lab.ask(do="signal", user=bob.pw_name, pid=sleeper.pid, signal=9)["ok"]
        assert sleeper.poll() is None
        assert not lab.ask(do="signal", user=ada.pw_name, pid=sleeper.pid, signal=19)["ok"]
        assert not lab.ask(do="signal", user=ada.pw_name, pid=-1, signal=9)["ok"]
        assert lab.ask(do="signal", user=ada.pw_name, pid=sleeper.pid, signal=15)["ok"]
        assert sleeper.wait(10) == -15
    finally:
        sleeper.kill()
        sleeper.wait()


@pytest.mark.parametrize(
    "question", [b"[]\n", b"{}\n", b"nonsense\n", b"\n", b'{"user": "x", "do"', b"{" * 70000]
)
def test_nonsense_is_refused_and_the_launcher_lives(lab, question):
    account = pwd.getpwnam(lab.service)
    script = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "s.sendall(sys.stdin.buffer.read()); s.shutdown(1); print(s.makefile().readline())"
    )
    done = subprocess.run(
        ["/usr/bin/env", "python3", "-c", script, str(lab.socket)],
        input=question, user=account.pw_uid, group=account.pw_gid, extra_groups=[], capture_output=True,
        cwd="/", timeout=30, check=False,
    )  # fmt: skip
    if done.returncode == 0:
        assert json.loads(done.stdout)["ok"] is False
    assert lab.ask(do="folder", user=lab.people[0])["ok"]


def test_a_socket_that_leads_to_another_person_is_noticed(lab):
    ada, bob = (pwd.getpwnam(name) for name in lab.people)
    folder = Path(lab.ask(do="folder", user=ada.pw_name)["folder"])
    path = lab.root / "bobs.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        (folder / "fork.sock").symlink_to(path)
        try:
            answer = lab.ask(do="connect", user=ada.pw_name)
        finally:
            (folder / "fork.sock").unlink()
    assert "leads to somebody else" in answer["error"]
    assert bob.pw_uid != ada.pw_uid


async def test_two_peoples_jobs_run_as_themselves(lab, tmp_path):
    """The engine asks as root here, so the launcher is told that root is the service."""
    path = lab.root / "second.sock"
    launcher = subprocess.Popen(
        [
            *(lab.python, "-m", "footplate_hub.launcher", "--socket", str(path)),
            *("--service-user", "root", "--users-root", str(lab.root / "users")),
        ],
        cwd="/",
    )
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    nodes = [{"name": "n1", "cpu": 4, "memory": "8Gi"}]
    settings = Settings(data=data, bind_port=1, launcher=path, clusters=[{"name": "local", "nodes": nodes}])
    engine = LocalEngine(settings, settings.clusters[0], ReplicaTokens(data / "replicas.key"))
    attempts = []
    try:
        await eventually(path.exists)
        await engine.start()
        for name in lab.people:
            spec = JobSpec.model_validate({"command": ["sleep", "600"], "group": "g"})
            attempts.append(
                Attempt(f"{name}-a1", name, 1, name, "g", spec, 60, (PlacedReplica("worker", 0, "n1"),))
            )
            await engine.apply(attempts[-1])
        for name in lab.people:
            uid = pwd.getpwnam(name).pw_uid
            folder = lab.root / "users" / name / "replicas" / f"{name}-a1" / "worker-0"
            await eventually((folder / "started-1").exists)
            assert (folder / "start.json").stat().st_uid == uid
            pid = json.loads((folder / "keeper.json").read_text())["pid"]
            status = Path(f"/proc/{pid}/status").read_text()
            assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}" in status
            assert (lab.root / "users" / name / "checkpoints" / name).stat().st_uid == uid
        with pytest.raises(EngineError, match="no account") as refused:
            await engine.apply(
                Attempt("x-a1", "x", 1, "mallory-x", "g", spec, 60, (PlacedReplica("worker", 0, "n1"),))
            )
        assert not refused.value.again
    finally:
        for attempt in attempts:
            await engine.delete(attempt, patience=0)
        await engine.stop()
        launcher.kill()
        launcher.wait()
    for name in lab.people:
        assert not (lab.root / "users" / name / "replicas" / f"{name}-a1").exists()

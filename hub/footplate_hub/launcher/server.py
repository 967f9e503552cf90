"""The launcher: the only code that runs as root on a lab server. Standard library only.

It answers the service's user and nobody else, one question a connection, each in a process of its own. It
makes a person's folder and control groups, connects to the person's fork server, which it starts as that
person, and signals and lists the person's processes. It does nothing as an account of the system.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from .accounts import Refusal, become, find_account
from .cgroups import find

__all__ = ["Launcher"]

_PATIENCE = 15.0
_SIGNALS = {signal.SIGTERM, signal.SIGKILL, signal.SIGINT}


class Launcher:
    """Listens on a socket that only the service's user may open.

    Parameters
    ----------
    users
        Folder of people's folders; root's, so that nobody can put a link in a person's place.
    """

    def __init__(self, path: Path, service_user: str, users: Path) -> None:
        self._path, self._users = path, users
        self._service = pwd.getpwnam(service_user).pw_uid
        self._cgroups = find("footplate")

    def serve(self) -> NoReturn:
        """Answer for ever."""
        self._users.mkdir(mode=0o711, parents=True, exist_ok=True)
        if self._users.is_symlink() or self._users.stat().st_uid != 0 or self._users.stat().st_mode & 0o022:
            raise SystemExit(f"{self._users} must be root's alone to write, and no link.")
        self._path.unlink(missing_ok=True)
        os.umask(0o077)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self._path))
        os.chown(self._path, self._service, -1)
        listener.listen(64)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who answer
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                self._answer_and_end(connection)
            connection.close()

    def _answer_and_end(self, connection: socket.socket) -> NoReturn:
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            connection.settimeout(_PATIENCE)
            descriptors: list[int] = []
            try:
                if _peer(connection) != self._service:
                    raise Refusal("The launcher answers the service only.")
                message = json.loads(connection.makefile("rb").readline(65536))
                account = find_account(message.get("user"))
                answer = {**self._do(account, message, descriptors), "uid": account.pw_uid, "ok": True}
            except (Refusal, LookupError, TypeError, ValueError, AttributeError) as error:
                answer = {"ok": False, "error": str(error), "again": False}
            except OSError as error:
                answer = {"ok": False, "error": f"The launcher failed: {error}.", "again": True}
            socket.send_fds(connection, [json.dumps(answer).encode() + b"\n"], descriptors)
        finally:
            os._exit(0)

    def _do(
        self, account: pwd.struct_passwd, message: dict[str, Any], descriptors: list[int]
    ) -> dict[str, Any]:
        order = message.get("do")
        if order == "folder":
            return {"folder": str(self._folder(account))}
        if order == "connect":
            descriptors.append(self._connect(account, self._folder(account) / "fork.sock"))
            return {}
        if order == "cgroup":
            return {"paths": self._confine(account, message)}
        if order == "list":
            return {"pids": [int(name) for name in os.listdir("/proc") if _owner(name) == account.pw_uid]}
        if order == "signal" and message["signal"] in _SIGNALS and int(message["pid"]) > 1:
            become(account)  # so that the kernel says whether it may be done
            os.kill(int(message["pid"]), message["signal"])
            return {}
        raise Refusal(f"{order!r} is not something that the launcher does.")

    def _confine(self, account: pwd.struct_passwd, message: dict[str, Any]) -> list[str]:
        if self._cgroups is None:
            return []
        theirs = self._cgroups.below(account.pw_name, account.pw_uid)
        if message["cpu"]:
            return theirs.make(message["name"], int(message["cpu"]), int(message["memory"]), account.pw_uid)
        theirs.remove(message["name"])
        return []

    def _folder(self, account: pwd.struct_passwd) -> Path:
        folder = self._users / account.pw_name
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid not in {0, account.pw_uid}:
            raise Refusal(f"{folder} belongs to somebody else.")
        os.chown(folder, account.pw_uid, account.pw_gid)
        return folder

    def _connect(self, account: pwd.struct_passwd, path: Path) -> int:
        begun, started = time.monotonic(), False
        while time.monotonic() < begun + _PATIENCE:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(str(path))
            except (FileNotFoundError, ConnectionRefusedError):
                connection.close()
                if not started:
                    self._start(account, path)
                started = True
                time.sleep(0.01)
                continue
            if _peer(connection) != account.pw_uid:  # the folder is the person's: this may lead elsewhere
                raise Refusal(f"The fork server's socket of {account.pw_name} leads to somebody else.")
            return connection.detach()
        raise Refusal(f"The fork server of {account.pw_name} does not start; see {self._users}.")

    def _start(self, account: pwd.struct_passwd, path: Path) -> None:
        log = os.open(self._users / f".{account.pw_name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if os.fork() != 0:
            os.close(log)
            return
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDONLY)
            for number, descriptor in enumerate((null, log, log)):
                os.dup2(descriptor, number)
            os.closerange(3, 65536)
            if self._cgroups is not None:
                self._cgroups.below(account.pw_name, account.pw_uid).enter("home")
            become(account)
            os.chdir("/")
            known = {"HOME": account.pw_dir, "LOGNAME": account.pw_name, "USER": account.pw_name}
            environment = {**known, "LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin"}
            program = [sys.executable, "-m", "footplate_agent.forkserver"]
            program += ["--socket", str(path), "--root", str(path.with_name("replicas"))]
            os.execve(sys.executable, program, environment)  # noqa: S606 - there is no shell to want
        finally:
            os._exit(1)


def _peer(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def _owner(name: str) -> int:
    try:
        return os.stat(f"/proc/{name}").st_uid if name.isdigit() else -1
    except FileNotFoundError:
        return -1

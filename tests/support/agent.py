"""A service for agents, real over HTTP and small: the protocol's second section with everything in memory.

It can be told to be away, to refuse the token, to lose answers: what a service that is killed and started
again looks like from an agent's side. And replicas: folders, keepers as real processes, what became of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["Replica", "Service", "digest_of", "eventually"]

PREFIX = "/services/footplate/"
TOKEN = "fpr.job-aaaaaa-a1.worker.0.00"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def eventually(condition: Callable[[], Any], patience: float = 20.0) -> Any:
    """What a condition gives once it holds."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.005)


class Service:
    """What it has heard, and what it wants, by replica token."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.blobs: dict[str, bytes] = {}
        self.uploads: dict[str, bytearray] = {}
        self.logs: dict[tuple[str, int], bytearray] = {}
        self.gaps: dict[tuple[str, int], list[tuple[int, int]]] = {}
        self.first_byte: dict[str, float] = {}
        self.reports: dict[str, list[dict[str, Any]]] = {}
        self.wants: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, Any] = {"env": {}, "files": {}, "git": None}
        self.requests: list[tuple[str, str]] = []
        self.away = False
        self.dead_tokens: set[str] = set()
        self.lose_answers = 0  # this many answers are not sent, though the request was carried out
        self.release = True
        self.full = False
        self._server: socketserver.BaseServer | None = None
        self.port = 0

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PREFIX}"

    def start(self) -> None:
        handler = type("Handler", (_Handler,), {"service": self})
        self._server = _Server(("127.0.0.1", self.port), handler)
        self.port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def stop(self) -> None:
        """Be gone: the port is closed, connections are cut."""
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        with self.lock:
            self.lock.notify_all()

    def put(self, data: bytes) -> str:
        digest = digest_of(data)
        self.blobs[digest] = data
        return digest

    def want(self, token: str = TOKEN, **changes: Any) -> None:
        with self.lock:
            wanted = self._wanted(token)
            wanted.update(changes)
            wanted["tag"] = str(int(wanted["tag"]) + 1)
            self.lock.notify_all()

    def _wanted(self, token: str) -> dict[str, Any]:
        return self.wants.setdefault(
            token,
            {"tag": "1", "execution": 1, "stop": None, "env": None, "time_limit": None, "release": False},
        )

    def heard(self, token: str, report: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            self.reports.setdefault(token, []).append(report)
            wanted = self._wanted(token)
            ended = report["state"] == "exited" and report["exit"]["execution"] >= wanted["execution"]
            if ended and self.release:
                wanted["release"] = True
                wanted["tag"] = str(int(wanted["tag"]) + 1)
            self.lock.notify_all()
            return dict(wanted)

    def exit(self, token: str = TOKEN, execution: int = 1) -> dict[str, Any] | None:
        for report in self.reports.get(token, []):
            if report["state"] == "exited" and report["execution"] == execution:
                return report["exit"]
        return None

    def log(self, token: str = TOKEN, execution: int = 1) -> str:
        return bytes(self.logs.get((token, execution), b"")).decode()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connections: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(2)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that are killed are what the tests are about


class _Handler(http.server.BaseHTTPRequestHandler):
    service: Service
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: Any) -> None:
        if self.service.lose_answers > 0:
            self.service.lose_answers -= 1
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_all(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        path = url.path.removeprefix(PREFIX)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        self.service.requests.append((self.command, path))
        if self.service.away:
            self.answer(503, b'{"error": "starting"}')
        elif token in self.service.dead_tokens or not token.startswith("fpr."):
            self.answer(401, b'{"error": "the attempt has ended"}')
        elif path == "agent/report":
            self.json(self.service.heard(token, json.loads(body)))
        elif path == "agent/claim":
            self.json({"execution": self.service._wanted(token)["execution"], "release": False})
        elif path == "agent/desired":
            self.desired(token, query)
        elif path == "agent/logs":
            self.logs(token, query, body)
        elif path == "agent/secrets":
            self.json(self.service.secrets)
        elif path.startswith("agent/blobs/") and self.command == "GET":
            data = self.service.blobs.get(path.removeprefix("agent/blobs/"))
            self.answer(404, b'{"error": "no such blob"}') if data is None else self.answer(200, data)
        elif path.startswith("agent/blobs/"):
            self.store(path.removeprefix("agent/blobs/"), int(query["offset"]), body)
        else:
            self.answer(404, b'{"error": "no such page"}')

    do_GET = do_POST = do_PUT = handle_all

    def json(self, value: Any) -> None:
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def desired(self, token: str, query: dict[str, str]) -> None:
        with self.service.lock:
            wanted = self.service._wanted(token)
            self.service.lock.wait_for(lambda: wanted["tag"] != query["tag"], float(query["wait"]))
            answer = dict(wanted)
        self.json(answer)

    def logs(self, token: str, query: dict[str, str], body: bytes) -> None:
        if self.service.full:
            self.answer(507, b'{"error": "the disk is full"}')
            return
        key = (token, int(query["execution"]))
        with self.service.lock:
            log = self.service.logs.setdefault(key, bytearray())
            fits = int(query["offset"]) == len(log)
            if fits:
                gap = self.headers.get("Footplate-Log-Gap")
                if gap:
                    start, end = (int(part) for part in gap.split("-"))
                    self.service.gaps.setdefault(key, []).append((start, end))
                    log.extend(bytes(end - start))
                log.extend(body)
                if body:
                    self.service.first_byte.setdefault(token, time.monotonic())
            size = len(log)
        self.answer(204 if fits else 409, Log_Size=size)

    def store(self, digest: str, offset: int, body: bytes) -> None:
        size = int(self.headers["X-Blob-Size"])
        upload = self.service.uploads.setdefault(digest, bytearray())
        if digest in self.service.blobs:
            self.answer(201)
        elif offset != len(upload):
            self.answer(409, b"{}", Upload_Offset=len(upload))
        else:
            upload.extend(body)
            if len(upload) < size:
                self.answer(202, b"", Upload_Offset=len(upload))
                return
            data = bytes(self.service.uploads.pop(digest))
            if digest_of(data) != digest:
                self.answer(422, b'{"error": "these are other bytes"}')
                return
            self.service.blobs[digest] = data
            self.answer(201)


class Replica:
    """One replica's folder, and its keepers as real processes."""

    def __init__(
        self, root: Path, service: Service, *, role: str = "worker", index: int = 0, **start: Any
    ) -> None:
        self.service = service
        self.token = f"fpr.job-aaaaaa-a1.{role}.{index}.00"
        self.name = f"job-aaaaaa-a1/{role}-{index}"
        self.path = root / "replicas" / self.name
        self.start: dict[str, Any] = {
            "version": 1,
            "attempt": "job-aaaaaa-a1",
            "job": "job-aaaaaa",
            "role": role,
            "replica": index,
            "execution": 1,
            "user": "ada",
            "group": "research/vision",
            "service": service.url,
            "token": self.token,
            "source": {},
            "command": ["true"],
            "env": {},
            "secrets": False,
            "python": {"version": f"3.{sys.version_info[1]}", "executable": sys.executable},
            "setup": {},
            "indexes": {},
            "mounts": [],
            "gang": False,
            "replicas": 1,
            "checkpoint": str(root / "checkpoints" / "job-aaaaaa"),
            "cache": str(root / "cache"),
            "grace": 5,
            "time_limit": 600,
            "gpus": [],
            "cpu": 1000,
            "memory": 2 * 2**30,
            "advisory": True,
            "log_limit": 2**30,
            **start,
        }
        self._keepers: list[subprocess.Popen[bytes]] = []

    def write(self) -> None:
        """Write start.json."""
        (self.path / "start.json").write_text(json.dumps(self.start))
        (self.path / "start.json").chmod(0o600)

    def keep(self) -> subprocess.Popen[bytes]:
        """Start a keeper; the folder is made at first."""
        if not self.path.exists():
            self.path.mkdir(mode=0o700, parents=True)
            self.write()
        keeper = subprocess.Popen(
            [sys.executable, "-m", "footplate_agent", "keeper", str(self.path)], start_new_session=True
        )
        self._keepers.append(keeper)
        return keeper

    def run(self, patience: float = 60.0) -> dict[str, Any]:
        """Keep until released, and give how execution 1 ended."""
        keeper = self.keep()
        assert keeper.wait(patience) == 0
        ended = self.service.exit(self.token)
        assert ended is not None
        return ended

    def agent(self) -> int | None:
        """The pid of the living keeper's agent."""
        return self._child("footplate-agent")

    def seat(self) -> int | None:
        """The pid of the living keeper's child that is to become the program."""
        return self._child("footplate-keep")

    def _child(self, name: str) -> int | None:
        for pid in _children(self._keepers[-1].pid):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                    return pid
        return None

    def processes(self) -> list[int]:
        """Pids of all processes that carry the folder's mark."""
        mark = f"FOOTPLATE_REPLICA_DIR={self.path}".encode()
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if mark in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                    found.append(int(name))
        return found

    @property
    def log(self) -> str:
        return self.service.log(self.token)

    def end(self) -> None:
        """Leave nothing running."""
        for keeper in self._keepers:
            if keeper.poll() is None:
                for pid in _children(keeper.pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                keeper.kill()
            keeper.wait()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _children(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            yield from map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())

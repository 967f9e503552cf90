"""A small service of docs/protocol.md §1 for the client's own behaviour: it fails in every way one can name.

It keeps blobs and jobs in memory and runs what it is given in a thread (cells, functions) or a process
(commands). What it does not do is decide: no queue, no groups, no persistence. The real service answers the
same tests in tests/service/notebook.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
import subprocess
import tempfile
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import cloudpickle

from footplate_spec import JobSpec, Tree, job_id
from footplate_spec.job import Payload

TOKEN = "token-of-ada"


@dataclass
class FakeJob:
    """One job: its view as the protocol says it, its output, and what it left."""

    id: str
    spec: JobSpec
    owner: str
    state: str = "queued"
    stopping: bool = False
    log: bytes = b""
    why: dict[str, Any] | None = None
    cause: dict[str, Any] | None = None
    points: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=lambda: {"attempt": 1, "execution": 1})
    submitted: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: datetime | None = None
    ended: datetime | None = None

    def summary(self) -> dict[str, Any]:
        stamp = {
            name: None if value is None else value.isoformat()
            for name, value in (("started", self.started), ("ended", self.ended))
        }
        return {
            "id": self.id, "name": self.spec.name, "owner": self.owner, "group": self.spec.group or "default",
            "state": self.state, "stopping": self.stopping, "cause": self.cause, "attempt": 1,
            "reason": (self.why or {}).get("reason"), "submitted": self.submitted.isoformat(), **stamp,
        }  # fmt: skip

    def view(self) -> dict[str, Any]:
        return {
            **self.summary(),
            "spec": self.spec.model_dump(mode="json", by_alias=True),
            "time_limit": 86400,
        }


class Service:
    """The service and the levers of its failures.

    ``failures`` is a list of statuses (or ``"drop"``) for the next requests whose path contains ``failing``.
    ``cut_after`` ends each follow stream's connection after so many bytes. ``hold`` keeps jobs queued.
    """

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.partial: dict[str, bytes] = {}
        self.jobs: dict[str, FakeJob] = {}
        self.keys: dict[str, str] = {}
        self.secrets: dict[str, str] = {}
        self.blocked: dict[str, str | None] = {"node-1": None}
        self.requests: list[tuple[str, str]] = []
        self.specs: list[dict[str, Any]] = []
        self.failures: list[int | str] = []
        self.failing = ""
        self.cut_after: int | None = None
        self.hold: dict[str, Any] | None = None
        self.owner = "ada"
        self.changed = threading.Condition()
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    # -- life

    def start(self) -> None:
        service = self

        class Handler(_Handler):
            fake = service

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/footplate/"

    # -- jobs

    def submit(self, values: dict[str, Any]) -> FakeJob:
        spec = JobSpec.model_validate(values)
        job = FakeJob(job_id(spec.name), spec, self.owner)
        self.jobs[job.id] = job
        self.specs.append(values)
        if self.hold is not None:
            job.why = {"job": job.id, "state": "queued", **self.hold}
        else:
            threading.Thread(target=self.run, args=(job,), daemon=True).start()
        return job

    def change(self, job: FakeJob, **values: Any) -> None:
        with self.changed:
            for name, value in values.items():
                setattr(job, name, value)
            self.changed.notify_all()

    def run(self, job: FakeJob) -> None:
        self.change(job, state="running", started=datetime.now(UTC), why=None)
        try:
            code = self._command(job) if job.spec.source.function is None else self._function(job)
        except Exception:
            traceback.print_exc()
            code = 70
        if job.state == "cancelled":
            return
        cause = {
            "code": "UserError",
            "message": f"the program ended with exit code {code}",
            "exit_code": code,
        }
        self.change(
            job,
            state="succeeded" if code == 0 else "failed",
            cause=None if code == 0 else cause,
            ended=datetime.now(UTC),
        )

    def _say(self, job: FakeJob, text: bytes) -> None:
        self.change(job, log=job.log + text)

    def _command(self, job: FakeJob) -> int:
        with tempfile.TemporaryDirectory() as folder:
            work, output, metrics = Path(folder, "work"), Path(folder, "output"), Path(folder, "metrics")
            work.mkdir()
            output.mkdir()
            if job.spec.source.workspace is not None:
                self._unpack(job.spec.source.workspace.digest, work)
            python = job.spec.python
            assert python is not None
            path = f"{Path(python.executable or '').parent}:{os.environ['PATH']}"
            environment = {"PATH": path, "HOME": folder, "FOOTPLATE_OUTPUT": str(output), **job.spec.env}
            command = job.spec.roles[0].command or job.spec.command
            process = subprocess.Popen(
                command,
                shell=isinstance(command, str),
                cwd=work,
                env={**environment, "FOOTPLATE_METRICS": str(metrics), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            assert process.stdout is not None
            while chunk := os.read(process.stdout.fileno(), 65536):
                self._say(job, chunk)
                if job.stopping:
                    process.kill()
            code = process.wait()
            if metrics.exists():
                self.change(job, points=[json.loads(line) for line in metrics.read_text().splitlines()])
            job.result["files"] = self._pack(output)
            return code

    def _unpack(self, digest: str, folder: Path) -> None:
        for file in Tree.model_validate_json(self.blobs[digest]).files:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            if file.target is not None:
                path.symlink_to(file.target)
            else:
                path.write_bytes(self.blobs[file.digest or ""])
                path.chmod(0o755 if file.mode == "executable" else 0o644)

    def _pack(self, folder: Path) -> str | None:
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        entries = [
            {
                "path": f.relative_to(folder).as_posix(),
                "size": f.stat().st_size,
                "digest": self.keep(f.read_bytes()),
            }
            for f in files
        ]
        return self.keep(json.dumps({"files": entries}).encode()) if entries else None

    def _function(self, job: FakeJob) -> int:
        function = job.spec.source.function
        assert function is not None
        names: dict[str, Any] = {"__name__": "__main__"}
        names |= {name: self._decode(payload) for name, payload in function.inputs.items()}
        out = io.StringIO()
        error = None
        try:
            with contextlib.redirect_stdout(out):
                if function.payload.encoding == "source":
                    source = self.blobs[function.payload.digest].decode()
                    exec(compile(source, f"<cell {job.id}>", "exec"), names)
                else:
                    called, args, kwargs = pickle.loads(self.blobs[function.payload.digest])
                    names["return"] = called(*args, **kwargs)
        except Exception as raised:
            error = raised
        self._say(job, out.getvalue().encode())
        if error is not None:
            told = "".join(traceback.format_exception(error))
            self._say(job, told.encode())
            job.result |= {"error": f"{type(error).__name__}: {error}", "traceback": told}
            return 1
        outputs = {name: self._encode(names[name]) for name in (*function.outputs,) if name in names}
        job.result["outputs"] = outputs
        return 0

    def _decode(self, payload: Payload) -> Any:
        raw = self.blobs[payload.digest]
        if payload.encoding == "npy":
            import numpy

            return numpy.load(io.BytesIO(raw), allow_pickle=False)
        return pickle.loads(raw)

    def _encode(self, value: Any) -> dict[str, str]:
        if type(value).__name__ == "ndarray":
            import numpy

            file = io.BytesIO()
            numpy.save(file, value, allow_pickle=False)
            return {"encoding": "npy", "digest": self.keep(file.getvalue())}
        return {"encoding": "pickle", "digest": self.keep(cloudpickle.dumps(value))}

    def keep(self, content: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs[digest] = content
        return digest


class _Cut(Exception):
    """The connection ends here, in the middle of a line."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: Service
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        pass

    def _handle(self) -> None:
        fake = self.fake
        path = urlsplit(self.path)
        name = path.path.removeprefix("/services/footplate/")
        self.query = {key: values[0] for key, values in parse_qs(path.query).items()}
        self.body = self._read_body()
        fake.requests.append((self.command, name))
        if fake.failures and fake.failing in name:
            failure = fake.failures.pop(0)
            if failure == "drop":
                self.close_connection = True
                return
            if failure == "html":
                self._send(200, b"<html>a portal</html>", "text/html")
                return
            self._refuse(int(failure), "the service is starting; try again in a moment", "starting")
            return
        if self.headers.get("Authorization") != f"token {TOKEN}":
            self._refuse(401, "this token is not known", "unauthorized")
            return
        parts = name.split("/")
        method = getattr(self, f"_{self.command.lower()}_{parts[0]}", None)
        try:
            if method is None:
                raise KeyError(name)
            method(*parts[1:])
        except KeyError:
            self._refuse(404, f"there is no {name.rsplit('/', 1)[-1]} here", "not_found")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _handle

    def _read_body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode())

    def _refuse(self, status: int, sentence: str, code: str, **headers: str) -> None:
        self._send(status, json.dumps({"error": sentence, "code": code}).encode(), **headers)

    # -- the calls

    def _get_me(self) -> None:
        self._json({"name": "ada", "groups": ["research/vision"], "admin": True, "version": "0.1.0"})

    def _post_jobs(self, job: str = "", verb: str = "") -> None:
        fake = self.fake
        if not job:
            values = json.loads(self.body)
            key = self.headers["Idempotency-Key"]
            if key in fake.keys:
                self._json(fake.jobs[fake.keys[key]].view())
                return
            if values.get("group") == "secret-club":
                self._refuse(403, "you are not in the group secret-club; yours: research/vision", "forbidden")
                return
            lacking = [digest for digest in _digests(values) if digest not in fake.blobs]
            if lacking:
                self._refuse(422, f"the blob {lacking[0]} is not stored", "blob_missing")
                return
            fresh = fake.submit(values)
            fake.keys[key] = fresh.id
            self._json(fresh.view(), 201)
            return
        found = fake.jobs[job]
        if verb == "cancel":
            if found.state == "queued":
                fake.change(found, state="cancelled", ended=datetime.now(UTC))
            elif found.state == "running":
                fake.change(found, stopping=True)
        elif verb in {"suspend", "resume"}:
            fake.change(found, state="suspended" if verb == "suspend" else "queued")
        else:
            raise KeyError(verb)
        self._json(found.view())

    def _patch_jobs(self, job: str) -> None:
        found = self.fake.jobs[job]
        found.spec = JobSpec.model_validate(
            {**found.spec.model_dump(mode="json", by_alias=True), **json.loads(self.body)}
        )
        self._json(found.view())

    def _delete_jobs(self, job: str) -> None:
        del self.fake.jobs[job]
        self._send(204, b"")

    def _get_jobs(self, job: str = "", what: str = "", *rest: str) -> None:
        fake = self.fake
        if not job:
            found = [j for j in reversed(fake.jobs.values()) if self.query.get("state") in {None, j.state}]
            self._json({"items": [j.summary() for j in found[: int(self.query["limit"])]], "next": None})
            return
        held = fake.jobs[job]
        if what == "":
            self._json(held.view())
        elif what == "why":
            sentence = f"{job} is {held.state}"
            self._json(held.why or {"job": job, "state": held.state, "sentence": sentence})
        elif what == "result":
            self._json(held.result)
        elif what == "events":
            self._json(
                [{"seq": 1, "time": held.submitted.isoformat(), "kind": "job.submitted", "subject": job}]
            )
        elif what == "metrics":
            first = int(self.query["after"])
            self._json({"points": held.points[first:], "next": len(held.points)})
        elif what == "logs":
            tail = self.headers.get("Range", "").removeprefix("bytes=-")
            self._send(200, held.log[-int(tail) :] if tail else held.log, "text/plain")
        elif what == "follow":
            self._follow(held)
        else:
            raise KeyError(what)

    def _follow(self, job: FakeJob) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            self._stream(job)
            self.wfile.write(b"0\r\n\r\n")
        except _Cut:
            self.close_connection = True

    def _stream(self, job: FakeJob) -> None:
        fake = self.fake
        self.sent = 0
        piece = 4096 if fake.cut_after is None else 64
        position, points, shown = int(self.query.get("offset", 0)), 0, ""
        while True:
            with fake.changed:
                now = f"{job.state} {job.stopping} {job.why}"
                if now == shown and position >= len(job.log) and points >= len(job.points):
                    fake.changed.wait(0.2)
                now = f"{job.state} {job.stopping} {job.why}"
                log, state, new = job.log[position : position + piece], job.state, job.points[points:]
            if now != shown:
                shown = now
                self._line(kind="job", job=job.summary())
                if job.why:
                    self._line(kind="why", why=job.why)
            if new:
                points += len(new)
                self._line(kind="metrics", metrics=new)
            if log:
                text = log.decode(errors="ignore")  # cut between characters, not inside one
                position += len(text.encode())
                here = {"attempt": 1, "execution": 1, "role": "worker", "offset": position}
                self._line(kind="log", text=text, **here)
            elif state in {"succeeded", "failed", "cancelled"}:
                self._line(kind="end")
                return

    def _line(self, **item: Any) -> None:
        data = json.dumps(item, ensure_ascii=False).encode() + b"\n"
        cut = self.fake.cut_after
        if cut is not None and self.sent + len(data) > cut:
            part = data[: cut - self.sent]
            if part:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            raise _Cut
        self.sent += len(data)
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _post_blobs(self, what: str) -> None:
        fake = self.fake
        if what == "missing":
            self._json({"missing": [d for d in json.loads(self.body)["digests"] if d not in fake.blobs]})
            return
        rest, stored = self.body, 0
        while rest:
            head, _, rest = rest.partition(b"\n")
            digest, size = head.decode().split()
            content, rest = rest[: int(size)], rest[int(size) :]
            if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
                self._refuse(422, f"the bytes are not those of {digest}", "digest")
                return
            fake.blobs[digest] = content
            stored += 1
        self._json({"stored": stored}, 201)

    def _put_blobs(self, digest: str) -> None:
        fake = self.fake
        held = fake.partial.get(digest, b"")
        if int(self.query["offset"]) != len(held):
            self._refuse(409, "that is not where the upload stands", "offset", Upload_Offset=str(len(held)))
            return
        held += self.body
        fake.partial[digest] = held
        if len(held) < int(self.headers["X-Blob-Size"]):
            self._send(202, b"", Upload_Offset=str(len(held)))
        elif f"sha256:{hashlib.sha256(held).hexdigest()}" == digest:
            fake.blobs[digest] = fake.partial.pop(digest)
            self._send(201, b"")
        else:
            del fake.partial[digest]
            self._refuse(422, "wrong digest", "digest")

    def _get_blobs(self, digest: str) -> None:
        content = self.fake.blobs[digest]
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self._send(206 if first else 200, content[first:], "application/octet-stream")

    def _get_quota(self) -> None:
        self._json([{
            "group": "research/vision", "cluster": "local", "flavor": "h100", "limit": {"gpu": 8},
            "used": {"gpu": 2, "cpu": 1500}, "queued": {"gpu": 4},
        }])  # fmt: skip

    def _nodes(self) -> list[dict[str, Any]]:
        return [
            {"cluster": "local", "name": name, "flavor": "h100", "cpu": 8000, "memory": 2**36, "gpu": 8,
             "declared": True, "blocked": why}
            for name, why in self.fake.blocked.items()
        ]  # fmt: skip

    def _get_nodes(self) -> None:
        self._json(self._nodes())

    def _post_nodes(self, cluster: str, name: str, verb: str) -> None:
        if cluster != "local" or name not in self.fake.blocked:
            raise KeyError(name)
        self.fake.blocked[name] = json.loads(self.body)["why"] if verb == "block" else None
        self._json(self._nodes()[0])

    def _get_secrets(self) -> None:
        self._json([{"name": n, "group": None, "updated": "2026-11-24T00:00:00Z"} for n in self.fake.secrets])

    def _put_secrets(self, name: str) -> None:
        self.fake.secrets[name] = json.loads(self.body)["value"]
        self._send(204, b"")

    def _delete_secrets(self, name: str) -> None:
        del self.fake.secrets[name]
        self._send(204, b"")


def _digests(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "digest":
                yield inner
            else:
                yield from _digests(inner)

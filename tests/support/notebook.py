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
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cloudpickle

from footplate_spec import JobSpec, Tree, job_id
from footplate_spec.job import Payload

from .notebook_http import TOKEN, Handler

__all__ = ["TOKEN", "FakeJob", "Service"]


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
        self.draining: set[str] = set()
        self.held: dict[tuple[str, str], str] = {}
        self.groups: dict[str, Any] = {"research/vision": {"name": "research/vision", "time_limit": 3600}}
        self.queue: dict[str, Any] = {
            "priorities": {"priorities": {"low": -100, "normal": 0, "high": 100}},
            "local": {"order": "fifo", "backfill": True},
        }
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

        class Mine(Handler):
            fake = service

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Mine)
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

"""How the small service of `support.notebook` answers the calls of docs/protocol.md §1, and spoils them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from footplate_spec import JobSpec

if TYPE_CHECKING:
    from .notebook import FakeJob, Service

__all__ = ["TOKEN", "Handler"]

TOKEN = "token-of-ada"


class _Cut(Exception):
    """The connection ends here, in the middle of a line."""


class Handler(BaseHTTPRequestHandler):
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
        self._json({"name": "ada", "groups": ["research/vision"], "admin": True, "version": "0.2.0"})

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

    def _get_etas(self) -> None:
        counts = {"given": 12, "open": 2, "settled": 10, "inside": 8, "early": 1, "late": 1}
        self._json({**counts, "median_error": 60, "median_width": 300})

    def _post_check(self) -> None:
        spec = JobSpec.model_validate_json(self.body)
        gpus = sum(role.replicas * role.resources.gpu for role in spec.roles)
        fixes = [{"kind": "replicas", "sentence": "1 replica instead of 9: starts now"}] if gpus > 8 else []
        starts = "never" if gpus > 8 else "now"
        self._json({"starts": starts, "message": f"{gpus} GPUs: {starts}", "fixes": fixes})

    def _get_quota(self) -> None:
        self._json([{
            "group": "research/vision", "cluster": "local", "flavor": "h100", "limit": {"gpu": 8},
            "used": {"gpu": 2, "cpu": 1500}, "queued": {"gpu": 4},
        }])  # fmt: skip

    def _nodes(self) -> list[dict[str, Any]]:
        return [
            {"cluster": "local", "name": name, "flavor": "h100", "cpu": 8000, "memory": 2**36, "gpu": 8,
             "declared": True, "blocked": why, "draining": name in self.fake.draining}
            for name, why in self.fake.blocked.items()
        ]  # fmt: skip

    def _get_nodes(self) -> None:
        self._json(self._nodes())

    def _post_nodes(self, cluster: str, name: str, verb: str) -> None:
        if cluster != "local" or name not in self.fake.blocked:
            raise KeyError(name)
        self.fake.blocked[name] = json.loads(self.body)["why"] if verb in {"block", "drain"} else None
        self.fake.draining = {name} if verb == "drain" else set()
        self._json(self._nodes()[0])

    def _put_addresses(self, address: str) -> None:
        self.fake.held["addresses", address] = json.loads(self.body)["why"]
        self._send(204, b"")

    def _delete_addresses(self, address: str) -> None:
        del self.fake.held["addresses", address]
        self._send(204, b"")

    def _get_groups(self, *name: str) -> None:
        group = self.fake.groups["/".join(name)]
        body = json.dumps(group).encode()
        self._send(200, body, ETag=f'"{len(body)}"')

    def _put_groups(self, *name: str) -> None:
        seen = len(json.dumps(self.fake.groups["/".join(name)]))
        if self.headers["If-Match"] != f'"{seen}"':
            self._refuse(412, "somebody changed it", "changed")
            return
        self.fake.groups["/".join(name)] = json.loads(self.body)
        self._json(json.loads(self.body))

    def _delete_groups(self, *name: str) -> None:
        del self.fake.groups["/".join(name)]
        self._send(204, b"")

    def _get_priorities(self) -> None:
        self._get_clusters("priorities", "")

    def _put_priorities(self) -> None:
        self._put_clusters("priorities", "")

    def _delete_priorities(self) -> None:
        self._delete_clusters("priorities", "")

    def _get_clusters(self, name: str, _: str) -> None:
        body = json.dumps(self.fake.queue[name]).encode()
        self._send(200, body, ETag=f'"{len(body)}"')

    def _put_clusters(self, name: str, _: str) -> None:
        if self.headers["If-Match"] != f'"{len(json.dumps(self.fake.queue[name]))}"':
            self._refuse(412, "somebody changed it", "changed")
            return
        self.fake.queue[name] = json.loads(self.body)
        self._json(self.fake.queue[name])

    def _delete_clusters(self, name: str, _: str) -> None:
        self.fake.queue[name] = {"priorities": {"normal": 0}} if name == "priorities" else {}
        self._send(204, b"")

    def _put_holds(self, kind: str, *name: str) -> None:
        self.fake.held[kind, "/".join(name)] = json.loads(self.body)["why"]
        self._send(204, b"")

    def _delete_holds(self, kind: str, *name: str) -> None:
        del self.fake.held[kind, "/".join(name)]
        self._send(204, b"")

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

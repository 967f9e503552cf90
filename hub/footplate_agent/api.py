"""The agent's side of the protocol's second section, over one kept connection.

The service may be away for as long as it likes: a call waits and tries again. Only two things end that:
a dead token, and a caller that gave up.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import IO, Any, Callable, Dict, Iterator, Mapping, Optional, Tuple, Union
from urllib.parse import quote, urlsplit

from .fence import clock

__all__ = ["Answer", "Api", "DeadToken", "Interrupted", "Refused"]

_TIMEOUT = 60.0
_BACKOFF_FIRST, _BACKOFF_LAST = 0.05, 5.0
_CHUNK = 8 * 2**20
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_FULL = 507
_FULL_PATIENCE = 60.0
_TRIES_AT_A_DIGEST = 3

Body = Union[bytes, memoryview]


class DeadToken(Exception):  # noqa: N818 - the attempt has ended
    """The service does not take this token any more: nothing of this replica may go on."""


class Interrupted(Exception):  # noqa: N818 - on request
    """Whoever asked does not need the answer any more."""


class Refused(Exception):  # noqa: N818 - an answer, not a fault of ours
    """The service will not do this, however often it is asked. The message is its sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Answer:
    """What the service said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Dict[str, Any]:
        """The body as an object; anything else counts as none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def number(self, header: str) -> Optional[int]:
        """A header that counts something."""
        try:
            return int(self.headers[header.lower()])
        except (KeyError, ValueError, TypeError):
            return None


class Api:
    """One connection to the service. Threads that call at the same time take turns.

    Parameters
    ----------
    service
        Its URL, prefix included.
    token
        This replica's.
    interrupted
        Asked while the service is away: whether to stop trying.
    """

    def __init__(self, service: str, token: str, interrupted: Callable[[], bool] = lambda: False) -> None:
        self._service = service
        parts = urlsplit(service)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port
        self._prefix = parts.path if parts.path.endswith("/") else parts.path + "/"
        self._token = token
        self._interrupted = interrupted
        self._connection: Optional[http.client.HTTPConnection] = None
        self._turn = threading.Lock()
        self.heard: Optional[float] = None  # when the last request that was answered was sent

    def another(self) -> Api:
        """A second connection, for a call that must not wait for others or is waited for."""
        return Api(self._service, self._token, self._interrupted)

    def close(self) -> None:
        """Close the connection; the next call opens one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # The calls

    def report(self, report: Dict[str, Any]) -> Dict[str, Any]:
        """``POST agent/report``: tell, and hear what is wanted."""
        return self._checked("POST", "agent/report", json.dumps(report).encode()).json()

    def desired(self, tag: str, wait: float) -> Dict[str, Any]:
        """``GET agent/desired``: what is wanted, once it differs from ``tag`` or ``wait`` s have passed."""
        return self._checked("GET", f"agent/desired?tag={quote(tag, safe='')}&wait={wait:g}").json()

    def claim(self, holder: str, node: str, wait: float) -> Dict[str, Any]:
        """``POST agent/claim``: ask to be this replica; the execution granted, if one is by ``wait`` s."""
        body = json.dumps({"holder": holder, "node": node}).encode()
        return self._checked("POST", f"agent/claim?wait={wait:g}", body).json()

    def secrets(self) -> Dict[str, Any]:
        """``GET agent/secrets``: the values that this job names."""
        return self._checked("GET", "agent/secrets").json()

    def append_log(self, execution: int, offset: int, data: Body, skip_to: Optional[int] = None) -> int:
        """``PUT agent/logs``: append, and return the size from which to go on.

        With ``skip_to``, the bytes from ``offset`` to there were dropped here, and ``data`` follows them.
        """
        headers = {} if skip_to is None else {"Footplate-Log-Gap": f"{offset}-{skip_to}"}
        path = f"agent/logs?execution={execution}&offset={offset}"
        answer = self._patient("PUT", path, data, headers, accept=(409,))
        size = answer.number("Log-Size")
        if size is not None:
            return size
        return (offset if skip_to is None else skip_to) + len(data)

    def fetch_blob(self, digest: str, target: IO[bytes]) -> None:
        """``GET agent/blobs``: a blob into a file, its digest verified.

        Raises
        ------
        Refused
            If the service does not have it, or has something else under its name.
        """
        for _ in range(_TRIES_AT_A_DIGEST):
            target.seek(0)
            target.truncate()
            answer = self._checked("GET", f"agent/blobs/{digest}", into=target)
            if answer.status == 200 and _digest_of(target) == digest:
                return
        raise Refused(422, f"{digest} arrived damaged {_TRIES_AT_A_DIGEST} times; its stored copy is corrupt")

    def store_blob(self, digest: str, source: IO[bytes], size: int) -> None:
        """``PUT agent/blobs``: upload, from where an earlier try came to.

        Raises
        ------
        Refused
            If the service does not take it.
        """
        offset, damaged = 0, 0
        while True:
            source.seek(offset)
            answer = self._patient(
                "PUT",
                f"agent/blobs/{digest}?offset={offset}",
                source.read(_CHUNK),
                {"X-Blob-Size": str(size)},
                accept=(409, 422),
            )
            if answer.status in (200, 201, 204):
                return
            if answer.status == 422:
                damaged += 1
                if damaged == _TRIES_AT_A_DIGEST:
                    raise Refused(422, _sentence(answer))
                offset = 0
                continue
            told = answer.number("Upload-Offset")
            offset = told if told is not None else min(offset + _CHUNK, size)

    # Asking

    def _patient(
        self, method: str, path: str, body: Body, headers: Dict[str, str], accept: Tuple[int, ...]
    ) -> Answer:
        """Ask, and give a service whose disk is full a minute to make room."""
        deadline = time.monotonic() + _FULL_PATIENCE
        while True:
            try:
                return self._checked(method, path, body, headers=headers, accept=accept)
            except Refused as refused:
                if refused.status != _FULL or time.monotonic() > deadline or self._interrupted():
                    raise
                time.sleep(1.0)

    def _checked(
        self,
        method: str,
        path: str,
        body: Body = b"",
        *,
        headers: Optional[Dict[str, str]] = None,
        into: Optional[IO[bytes]] = None,
        accept: Tuple[int, ...] = (),
    ) -> Answer:
        pause = _BACKOFF_FIRST
        while True:
            answer = self._once(method, path, body, headers or {}, into)
            if answer is not None:
                if answer.status == 401:
                    raise DeadToken(_sentence(answer))
                if answer.status < 300 or answer.status in accept:
                    return answer
                if answer.status not in _AGAIN:
                    raise Refused(answer.status, _sentence(answer))
            if self._interrupted():
                raise Interrupted
            # Many agents wait for one service: they must not all come back at the same instant.
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _BACKOFF_LAST)
            if into is not None:
                into.seek(0)
                into.truncate()

    def _once(
        self, method: str, path: str, body: Body, headers: Dict[str, str], into: Optional[IO[bytes]]
    ) -> Optional[Answer]:
        """One try; None if no answer came."""
        all_headers = {"Authorization": f"Bearer {self._token}", **headers}
        with self._turn:
            fresh = self._connection is None
            while True:
                sent = clock()
                try:
                    answer = self._exchange(method, path, body, all_headers, into)
                except (OSError, http.client.HTTPException):
                    self.close()
                    if fresh:
                        return None
                    fresh = True  # a kept connection may have been closed for idleness: that is no absence
                else:
                    self.heard = sent
                    return answer

    def _exchange(
        self, method: str, path: str, body: Body, headers: Dict[str, str], into: Optional[IO[bytes]]
    ) -> Answer:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.request(method, self._prefix + path, body=body or None, headers=headers)
        response = self._connection.getresponse()
        received = b""
        if into is not None and response.status == 200:
            for chunk in iter(lambda: response.read(1 << 20), b""):
                into.write(chunk)
        else:
            received = response.read()
        return Answer(response.status, dict(_lower(response)), received)

    def _connect(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection
        if self._secure:
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=_TIMEOUT, context=context
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def _lower(response: http.client.HTTPResponse) -> Iterator[Tuple[str, str]]:
    return ((name.lower(), value) for name, value in response.getheaders())


def _digest_of(file: IO[bytes]) -> str:
    file.flush()
    file.seek(0)
    sha = hashlib.sha256()
    for chunk in iter(lambda: file.read(1 << 20), b""):
        sha.update(chunk)
    return f"sha256:{sha.hexdigest()}"


def _sentence(answer: Answer) -> str:
    said = answer.json().get("error")
    return str(said) if said else f"the service answered {answer.status}"

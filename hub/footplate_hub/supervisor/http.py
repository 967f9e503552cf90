"""One HTTP request to a child on this machine, without threads and without a client library.

The supervisor asks two or three short questions a second and forks with a hook, which only a process without
threads may do; thirty lines here are cheaper than that risk and than 15 MB of client.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

__all__ = ["Answer", "ask"]


class Answer:
    """Status and body of a response."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


async def ask(
    port: int,
    path: str,
    *,
    method: str = "GET",
    token: str | None = None,
    body: Any = None,
    host: str = "127.0.0.1",
    timeout: float = 10.0,  # noqa: ASYNC109 - callers choose how long a question may take
) -> Answer:
    """Ask once.

    Raises
    ------
    OSError
        If nothing listens, or it does not answer in time (`TimeoutError`), or answers something else.
    """
    async with asyncio.timeout(timeout):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(_request(method, path, f"{host}:{port}", token, body))
            await writer.drain()
            raw = await reader.read()
        finally:
            writer.close()
    return _parse(raw)


def _request(method: str, path: str, host: str, token: str | None, body: Any) -> bytes:
    payload = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.0", f"Host: {host}", f"Content-Length: {len(payload)}"]
    if body is not None:
        lines.append("Content-Type: application/json")
    if token is not None:
        lines.append(f"Authorization: token {token}")
    return "\r\n".join([*lines, "", ""]).encode() + payload


def _parse(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise ConnectionError("no HTTP answer")
    return Answer(int(words[1]), body)

"""The few calls of JupyterHub's API that a service makes, over real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import uvicorn

__all__ = ["Hub", "run_hub", "user"]

ACCESS = "access:services!service=footplate"


def user(name: str, *groups: str, admin: bool = False, scopes: tuple[str, ...] = ()) -> dict[str, Any]:
    """A user's model as the hub answers it to a token."""
    return {
        "kind": "user", "name": name, "admin": admin, "groups": list(groups),
        "scopes": [ACCESS, "custom:footplate:submit", *scopes],
    }  # fmt: skip


class Hub:
    """``GET user`` and ``POST oauth2/token``, with counts and a switch for each kind of bad day."""

    def __init__(self) -> None:
        self.tokens: dict[str, dict[str, Any]] = {}
        self.codes: dict[str, str] = {}
        self.asked = 0
        self.status = 200
        self.hung = False
        self.exchanged: list[dict[str, list[str]]] = []
        self.url = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if self.hung:
            await asyncio.sleep(30)
        body = b""
        more = True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        status, answer = self._answer(scope, body)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    def _answer(self, scope: Any, body: bytes) -> tuple[int, Any]:
        if self.status != 200:
            return self.status, {"message": "a bad day"}
        if scope["path"] == "/hub/api/oauth2/token":
            form = parse_qs(body.decode())
            self.exchanged.append(form)
            token = self.codes.pop(form["code"][0], None)
            return (200, {"access_token": token}) if token else (400, {"error": "invalid_grant"})
        self.asked += 1
        header = dict(scope["headers"]).get(b"authorization", b"").decode()
        model = self.tokens.get(header.removeprefix("token "))
        return (200, model) if model else (403, {"message": "forbidden"})


@contextlib.asynccontextmanager
async def run_hub() -> AsyncIterator[Hub]:
    """A hub on a free port, until the block ends."""
    hub = Hub()
    listening = socket.create_server(("127.0.0.1", 0))
    hub.url = f"http://127.0.0.1:{listening.getsockname()[1]}/hub/api"
    server = uvicorn.Server(
        uvicorn.Config(hub, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
    )
    task = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield hub
    finally:
        server.should_exit = True
        await task
        listening.close()

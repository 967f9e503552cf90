"""Which clients this version talks to: those of its own minor version and of the one before."""

from __future__ import annotations

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from footplate_spec import __version__

__all__ = ["VersionGate", "refusal"]

HEADER = "Footplate-Version"


def refusal(client: str, service: str = __version__) -> str | None:
    """Why a client of that version is not served; None if it is.

    A client one minor version back still works: a dev machine lives for weeks.
    """
    theirs, ours = (re.match(r"(\d+)\.(\d+)", version) for version in (client, service))
    if theirs is None:
        return f"{HEADER}: {client[:40]!r} is not a version"
    assert ours is not None
    theirs_, ours_ = (tuple(map(int, found.groups())) for found in (theirs, ours))
    if theirs_[0] == ours_[0] and theirs_[1] in {ours_[1], ours_[1] - 1}:
        return None
    if theirs_ < ours_:
        return f"this footplate is {client[:40]}, the service is {service}: upgrade footplate here"
    return (
        f"this footplate is {client[:40]}, the service is {service}: install footplate {service} here, "
        "or ask for the service to be upgraded"
    )


class VersionGate:
    """Answers 426 to other versions, and says its own with every answer.

    Agents are left alone: what they run must end well, whichever version started it.
    """

    def __init__(self, app: ASGIApp, agents: str) -> None:
        self.app = app
        self._agents = agents

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = __version__
            await send(message)

        client = Headers(scope=scope).get(HEADER)
        if client is not None and not scope["path"].startswith(self._agents):
            sentence = refusal(client)
            if sentence is not None:
                answer = JSONResponse({"error": sentence, "code": "version"}, 426)
                await answer(scope, receive, with_version)
                return
        await self.app(scope, receive, with_version)

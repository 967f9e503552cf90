"""A service that stands by answers what it can read and takes in jobs; the rest is for the one that leads."""

from __future__ import annotations

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["StandbyGate", "needs_the_leader"]

_READ_FROM_THE_BOARD = {"nodes", "quota", "check"}
_STORED_ONLY = {"blobs", "secrets"}
_SUBMIT = {"jobs", "jobs/batch"}


def needs_the_leader(method: str, path: str) -> bool:
    """Whether only the service whose loops run can answer; ``path`` is below the service's prefix."""
    first = path.partition("/")[0]
    if first == "agent" or path in _READ_FROM_THE_BOARD:
        return True
    if method in {"GET", "HEAD"} or first in _STORED_ONLY:
        return False
    return not (method == "POST" and path in _SUBMIT)


class StandbyGate:
    """Answers 503 to what a service that stands by cannot do; clients and agents try again."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self.app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and not scope["app"].state.rooms.control.leading:
            path = scope["path"].removeprefix(self._prefix)
            if needs_the_leader(scope["method"], path):
                sentence = "this service stands by; try again, and the one that leads answers"
                answer = JSONResponse({"error": sentence, "code": "standby"}, 503, {"Retry-After": "1"})
                await answer(scope, receive, send)
                return
        await self.app(scope, receive, send)

"""How much a request may carry: what is read into memory is bounded, before it is read.

Uploads of blobs are streamed to disk and bounded by the size that they announce.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from footplate_spec.units import format_bytes

__all__ = ["BodyLimit"]


class BodyLimit:
    """Answers 413 to larger bodies than ``limit`` bytes.

    Parameters
    ----------
    streamed
        Paths below which a PUT is streamed, and not bounded here.
    """

    def __init__(self, app: ASGIApp, limit: int, streamed: tuple[str, ...]) -> None:
        self.app = app
        self._limit = limit
        self._streamed = streamed
        self._sentence = f"a request may carry {format_bytes(limit)} at most; send less at a time"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or (scope["method"] == "PUT" and scope["path"].startswith(self._streamed)):
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("Content-Length", "0")
        if announced.isdecimal() and int(announced) > self._limit:
            answer = JSONResponse({"error": self._sentence, "code": "too_large"}, 413)
            await answer(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                raise HTTPException(413, self._sentence)
            return message

        await self.app(scope, counted, send)

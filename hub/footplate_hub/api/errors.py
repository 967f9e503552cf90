"""Every refusal in one shape: ``{"error": "<one sentence>", "code": "<word>"}``."""

from __future__ import annotations

import logging
import secrets
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from footplate_spec.base import Answer, explain_error

from ..blobs import DamagedBlobError, WrongDigestError, WrongOffsetError
from ..control import Refused
from ..control.live_groups import ChangedMeanwhileError
from ..files import DiskFullError
from ..identity import IdentityError
from ..logs import WrongLogOffsetError
from ..sealing import SealingError
from ..store import StoreError
from ..store.blobs import MissingBlobError
from ..store.events import ExpiredError

__all__ = ["Problem", "Refusal", "install", "not_found"]

_log = logging.getLogger("footplate.api")
_CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    410: "gone",
    412: "changed",
    413: "too_large",
    416: "range",
    422: "invalid",
    426: "version",
    428: "if_match",
    429: "too_many",
    503: "unavailable",
    507: "disk_full",
}


class Problem(Answer):
    """The body of every refusal: one sentence for a person, one word for a program."""

    error: str
    code: str


class Refusal(Exception):  # noqa: N818 - it is an answer, not a fault
    """A request that is answered with a refusal.

    Parameters
    ----------
    status
        HTTP status.
    sentence
        What is wrong and what to do.
    code
        A word for programs; unset: the status's own.
    """

    def __init__(
        self, status: int, sentence: str, code: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        self.status = status
        self.code = code or _CODES.get(status, "refused")
        self.headers = headers or {}
        super().__init__(sentence)


def not_found(what: str) -> Refusal:
    """The answer for what is not there, and for what one may not see."""
    return Refusal(404, f"there is no {what}, or you may not see it")


def _answer(status: int, sentence: str, code: str | None = None, **headers: str) -> JSONResponse:
    content = {"error": sentence, "code": code or _CODES.get(status, "refused")}
    return JSONResponse(content, status, headers={k.replace("_", "-"): v for k, v in headers.items()})


async def _refusal(_: Request, error: Any) -> Response:
    content = {"error": str(error), "code": error.code}
    return JSONResponse(content, error.status, headers=error.headers)


async def _identity(_: Request, error: Any) -> Response:
    headers = {401: {"WWW_Authenticate": "Bearer"}, 503: {"Retry_After": "2"}}.get(error.status, {})
    return _answer(error.status, str(error), **headers)


async def _validation(_: Request, error: Any) -> Response:
    return _answer(422, _explain(error))


def _explain(error: RequestValidationError) -> str:
    first = dict(error.errors()[0])
    if first.get("type") == "json_invalid":
        return "the request is not JSON"
    first["loc"] = tuple(first.get("loc") or ())[1:]  # "body", "query", …: people know where they wrote it
    return explain_error(first)


async def _http(_: Request, error: Any) -> Response:
    sentence = "there is no such call" if error.status_code == 404 else str(error.detail)
    return _answer(error.status_code, sentence)


async def _store(_: Request, error: Any) -> Response:
    _log.error("the database refused: %s", error)
    if "full" in str(error) or "No space" in str(error):
        return _answer(507, str(DiskFullError()))
    return _answer(
        503, "the database did not take it, and nothing was changed; try again", "store", Retry_After="2"
    )


async def _unexpected(request: Request, error: Exception) -> Response:
    number = secrets.token_hex(4)
    _log.error("%s %s failed (%s)", request.method, request.url.path, number, exc_info=error)
    return _answer(500, f"the service failed; its log tells more under {number}", "internal")


async def _gone_away(_: Request, __: Any) -> Response:
    return Response(status_code=499)  # nobody reads it


def install(app: FastAPI) -> None:
    """Answer all errors in the one shape."""

    def plain(status: int, code: str | None = None) -> Any:
        async def answer(_: Request, error: Any) -> Response:
            return _answer(status, str(error), code)

        return answer

    async def offset(_: Request, error: Any) -> Response:
        return _answer(409, str(error), "offset", Upload_Offset=str(error.offset))

    async def log_offset(_: Request, error: Any) -> Response:
        return _answer(409, str(error), "offset", Log_Size=str(error.size))

    for kind, handler in (
        (Refusal, _refusal),
        (IdentityError, _identity),
        (RequestValidationError, _validation),
        (HTTPException, _http),
        (StoreError, _store),
        (Refused, plain(409, "state")),
        (ChangedMeanwhileError, plain(412)),
        (DiskFullError, plain(507)),
        (MissingBlobError, plain(422, "blob_missing")),
        (WrongDigestError, plain(422, "digest")),
        (DamagedBlobError, plain(410, "damaged")),
        (ExpiredError, plain(410, "expired")),
        (SealingError, plain(409, "sealed")),
        (WrongOffsetError, offset),
        (WrongLogOffsetError, log_offset),
        (ClientDisconnect, _gone_away),
        (Exception, _unexpected),
    ):
        app.add_exception_handler(kind, handler)

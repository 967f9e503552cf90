"""Who a request comes from, and whether it may change things: the dependencies of every router."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from ..identity import IdentityError, Person, header_token
from ..rooms import Rooms
from ..sealing import SealingError
from .errors import Refusal

__all__ = ["Admin", "Again", "CallAgain", "Caller", "In", "Submitter", "rooms_of", "session_cookie"]


def rooms_of(request: Request) -> Rooms:
    """The service's parts."""
    rooms: Rooms = request.app.state.rooms
    return rooms


In = Annotated[Rooms, Depends(rooms_of)]


def session_cookie() -> str:
    """The name of the browser's session cookie."""
    return "footplate-session"


async def _caller(request: Request, rooms: In) -> Person:
    if "token" in request.query_params:
        raise Refusal(403, "a token does not belong in an address; send it in the Authorization header")
    token = header_token(request.headers.get("Authorization"))
    if token is None and (cookie := request.cookies.get(session_cookie())):
        if request.method not in {"GET", "HEAD"} and not _same_origin(request):
            raise Refusal(403, "a change with a session cookie must come from a page of this platform")
        try:
            token = rooms.sealing.open(cookie.encode())
        except SealingError:
            raise IdentityError(401, "the session is not valid any more; log in again") from None
    if token is None:
        raise IdentityError(401, "no token: send 'Authorization: token <hub token>', or log in")
    return await rooms.identity.person(token)


def _same_origin(request: Request) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = urlsplit(request.headers.get("Origin", ""))
    return bool(origin.netloc) and origin.netloc == request.headers.get("Host")


Caller = Annotated[Person, Depends(_caller)]
Again = Callable[[], Awaitable[Person | None]]


def _again(request: Request, rooms: In) -> Again:
    async def again() -> Person | None:
        try:
            return await _caller(request, rooms)
        except IdentityError as error:
            if error.status == 503:
                raise
            return None

    return again


CallAgain = Annotated[Again, Depends(_again)]  # who calls now: a stream outlives what it began with


async def _submitter(person: Caller) -> Person:
    if not person.may_submit:
        raise Refusal(
            403, "this token may only look; changing things needs the scope custom:footplate:submit"
        )
    return person


Submitter = Annotated[Person, Depends(_submitter)]


async def _admin(person: Submitter) -> Person:
    if not person.admin:
        raise Refusal(403, "only an administrator of the platform may do this")
    return person


Admin = Annotated[Person, Depends(_admin)]

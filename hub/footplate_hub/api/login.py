"""Who am I, and how a browser becomes somebody: a login through JupyterHub, with PKCE.

The cookie holds the sealed hub token, for this service's paths only, and no script can read it.
"""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import APIRouter, Cookie, Query, Request
from fastapi.responses import RedirectResponse

from footplate_spec import Me, __version__
from footplate_spec.base import Answer

from .callers import Caller, In, session_cookie
from .errors import Refusal

__all__ = ["router"]

router = APIRouter(tags=["who"])
_STATE_COOKIE = "footplate-login"
_LOGIN_LASTS = 600  # seconds


class Health(Answer):
    """That the service answers."""

    status: str
    version: str


@router.get("/healthz")
async def healthz(rooms: In) -> Health:
    """Open to everybody: the service answers; 503 when it is to be started again."""
    if rooms.control.lost:
        raise Refusal(503, "this service has lost the lead and is to be started again", "lost")
    return Health(status="ok", version=__version__)


@router.get("/me")
async def me(person: Caller) -> Me:
    """Who the service takes the caller for."""
    return Me(
        name=person.name,
        groups=list(person.groups),
        admin=person.admin,
        administers=list(person.administers),
        version=__version__,
    )


@router.get("/login", response_class=RedirectResponse)
async def login(
    request: Request, rooms: In, following: Annotated[str | None, Query(alias="next")] = None
) -> RedirectResponse:
    """Begin a browser login."""
    prefix = rooms.settings.prefix
    # A path of this origin only; "//host" and "/\\host" are other hosts to a browser.
    if following is None or not following.startswith("/") or following[1:2] in {"/", "\\"}:
        following = f"{prefix}me"
    begun = rooms.identity.login(following)
    answer = RedirectResponse(begun.url, 302)
    answer.set_cookie(
        _STATE_COOKIE,
        begun.state,
        max_age=_LOGIN_LASTS,
        path=prefix,
        secure=_https(request, rooms.settings.url),
        httponly=True,
        samesite="lax",
    )
    return answer


@router.get("/oauth_callback", response_class=RedirectResponse)
async def oauth_callback(
    request: Request,
    rooms: In,
    *,
    code: Annotated[str | None, Query(max_length=2000)] = None,
    state: Annotated[str | None, Query(max_length=2000)] = None,
    expected: Annotated[str | None, Cookie(alias=_STATE_COOKIE)] = None,
) -> RedirectResponse:
    """The hub sends the browser back here."""
    if (
        not code
        or not state
        or expected is None
        or not hmac.compare_digest(state.encode(), expected.encode())
    ):
        raise Refusal(403, "this login was not begun in this browser, or has expired; begin it again")
    token, following = await rooms.identity.finish_login(code, state)
    answer = RedirectResponse(following, 302)
    prefix = rooms.settings.prefix
    answer.delete_cookie(_STATE_COOKIE, path=prefix)
    answer.set_cookie(
        session_cookie(),
        rooms.sealing.seal(token).decode(),
        path=prefix,
        secure=_https(request, rooms.settings.url),
        httponly=True,
        samesite="lax",
    )
    return answer


def _https(request: Request, url: str) -> bool:
    return request.url.scheme == "https" or url.startswith("https:")

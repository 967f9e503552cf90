"""Who is calling: JupyterHub says, and nobody else does.

A hub token, or the cookie of a browser login that holds one, is shown to the hub and the answer is
remembered for a minute; when the hub is away, what was known keeps working for a few minutes more, so
that a restart of the hub is not noticed here. Another local user gets nothing without a token.

Scopes of the hub: ``access:services!service=<name>`` lets one in, ``custom:footplate:submit`` lets one change
things, ``custom:footplate:admin`` (or being an administrator of the hub) administers the platform, and
``custom:footplate:admin!group=research`` a group with all groups below it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

from pydantic import TypeAdapter, ValidationError

from footplate_spec.names import GroupPath

from .store.jobs import Viewer, within

__all__ = ["HubIdentity", "Identity", "IdentityError", "Login", "Person"]

ADMIN = "custom:footplate:admin"
SUBMIT = "custom:footplate:submit"
_GROUP_ADMIN = f"{ADMIN}!group="
_FRESH = 60.0  # seconds for which the hub's answer is taken as it is
_STALE = 300.0  # seconds for which it is taken while the hub is away
_REFUSED = 5.0  # seconds for which a token that the hub does not know is not asked about again
_HUB_PATIENCE = 10.0  # a hung hub has no time limit of its own
_REMEMBERED = 10_000
_GROUP = TypeAdapter(GroupPath)
_HEADER = re.compile(r"(?:token|bearer)\s+(\S+)\s*", re.IGNORECASE)


class IdentityError(Exception):
    """Nobody was recognised.

    Parameters
    ----------
    status
        401: no or an unknown token; 403: known, but may not; 503: the hub does not answer.
    """

    def __init__(self, status: int, sentence: str) -> None:
        self.status = status
        super().__init__(sentence)


@dataclass(frozen=True)
class Person:
    """A caller.

    Parameters
    ----------
    groups
        Cost centres; the platform's default one if the hub knows none.
    admin
        Whether the person administers the platform.
    administers
        Groups that the person administers, with all groups below them.
    """

    name: str
    groups: tuple[str, ...]
    admin: bool = False
    may_submit: bool = True
    administers: tuple[str, ...] = ()

    @property
    def viewer(self) -> Viewer:
        """What the store needs to know."""
        return Viewer(self.name, frozenset(self.groups), self.admin, frozenset(self.administers))

    def runs(self, group: str) -> bool:
        """Whether the person administers a group, by itself, by one above it, or with the platform."""
        return self.admin or within(group, self.administers)


@dataclass(frozen=True)
class Login:
    """The first half of a browser login: where to send the browser, and the state it must bring back."""

    url: str
    state: str


class Identity(Protocol):
    """Recognises people by a hub token, and logs browsers in."""

    async def person(self, token: str) -> Person:
        """Whose token it is; raises `IdentityError`."""
        ...

    def login(self, next_path: str) -> Login:
        """Begin a browser login."""
        ...

    async def finish_login(self, code: str, state: str) -> tuple[str, str]:
        """The token and the path to go on to; raises `IdentityError`."""
        ...


def header_token(authorization: str | None) -> str | None:
    """The token of ``Authorization: token …`` or ``Bearer …``."""
    found = _HEADER.fullmatch(authorization or "")
    return found[1] if found else None


@dataclass
class _Known:
    person: Person | None
    when: float
    error: IdentityError | None = None


class HubIdentity:
    """Identity by JupyterHub, as its environment for services describes it (``JUPYTERHUB_*``).

    Parameters
    ----------
    default_group
        The group of people who are in none.
    auth
        JupyterHub's own client; unset: the one that the environment configures.
    """

    def __init__(self, default_group: str, auth: Any = None) -> None:
        from jupyterhub.services.auth import HubOAuth

        self._auth = auth or HubOAuth.instance()
        self._default_group = default_group
        self._known: dict[bytes, _Known] = {}
        self._asking: dict[bytes, asyncio.Task[_Known]] = {}

    async def person(self, token: str) -> Person:
        """Whose token it is, as the hub said within the last minute."""
        key = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        known = self._known.get(key)
        age = time.monotonic() - known.when if known else float("inf")
        if known is None or age > (_FRESH if known.person else _REFUSED):
            known = await self._ask(key, token, known)
        if known.error is not None:
            raise known.error
        assert known.person is not None
        return known.person

    async def _ask(self, key: bytes, token: str, before: _Known | None) -> _Known:
        task = self._asking.get(key)
        if task is None:  # callers of one token at the same time ask once
            task = asyncio.create_task(self._hub_says(token))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        try:
            known = await asyncio.shield(task)
        except IdentityError:
            if before and before.person and time.monotonic() - before.when < _STALE:
                return before
            raise
        while len(self._known) >= _REMEMBERED:
            self._known.pop(next(iter(self._known)))
        self._known[key] = known
        return known

    async def _hub_says(self, token: str) -> _Known:
        from tornado.web import HTTPError

        try:
            async with asyncio.timeout(_HUB_PATIENCE):
                model = await self._auth.user_for_token(token, use_cache=False, sync=False)
        except (HTTPError, TimeoutError):
            raise IdentityError(
                503, "JupyterHub does not answer, so nobody can be recognised; try again in a moment"
            ) from None
        now = time.monotonic()
        if model is None:
            refusal = IdentityError(401, "the token is not one that JupyterHub knows; log in again")
            return _Known(None, now, refusal)
        try:
            return _Known(self._recognise(model), now)
        except IdentityError as error:
            return _Known(None, now, error)

    def _recognise(self, model: Mapping[str, Any]) -> Person:
        if model.get("kind") != "user":
            raise IdentityError(403, "this is the token of a service of JupyterHub; use a person's")
        access = self._auth.access_scopes
        if access and not self._auth.check_scopes(access, model):
            needed = ", ".join(sorted(access))
            raise IdentityError(403, f"this token may not use Footplate; it needs the scope {needed}")
        scopes = set(model.get("scopes", ()))
        admin = bool(model.get("admin")) or ADMIN in scopes
        administered = {
            scope.removeprefix(_GROUP_ADMIN) for scope in scopes if scope.startswith(_GROUP_ADMIN)
        }
        groups = sorted({name for name in model.get("groups", ()) if _is_group(name)})
        return Person(
            name=model["name"],
            groups=tuple(groups) or (self._default_group,),
            admin=admin,
            may_submit=SUBMIT in scopes or ADMIN in scopes,
            administers=tuple(sorted(name for name in administered if _is_group(name))),
        )

    def login(self, next_path: str) -> Login:
        """Where the browser goes to log in, with PKCE."""
        verifier, challenge, method = self._auth.generate_pkce_code_challenge()
        state = self._auth.generate_state(next_url=next_path, code_verifier=verifier)
        query = urlencode({"state": state, "code_challenge": challenge, "code_challenge_method": method})
        return Login(f"{self._auth.login_url}&{query}", state)

    async def finish_login(self, code: str, state: str) -> tuple[str, str]:
        """Trade the code for a token; the state is good once."""
        from tornado.web import HTTPError

        verifier = self._auth.get_code_verifier(state)
        if verifier is None:
            raise IdentityError(403, "this login has expired or was used already; begin it again")
        next_path = self._auth.get_next_url(state)
        self._auth.clear_oauth_state(state)
        try:
            async with asyncio.timeout(_HUB_PATIENCE):
                token = await self._auth.token_for_code(code, code_verifier=verifier, sync=False)
        except HTTPError:
            raise IdentityError(403, "JupyterHub did not accept this login; begin it again") from None
        except TimeoutError:
            raise IdentityError(503, "JupyterHub does not answer; try again in a moment") from None
        return str(token), str(next_path)


def _is_group(name: str) -> bool:
    """Whether a group of the hub can be a cost centre: its name is a path."""
    try:
        _GROUP.validate_python(name)
    except ValidationError:
        return False
    return True

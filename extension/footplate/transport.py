"""One kept connection to the service: retries over its restarts, and errors that are sentences.

A call that may be repeated is repeated while the service is away, with back-off, for ``patience`` seconds.
A call that may not is repeated only if it certainly never reached the service.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from footplate_spec import __version__

from .errors import NotFoundError, RefusedError, UnreachableError
from .profile import Profile

__all__ = ["Backoff", "Transport", "client_options", "refusal"]

# What a proxy answers while the service behind it starts again.
_AWAY = frozenset({502, 503, 504})
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Backoff:
    """Waiting times that grow from 50 ms to 3 s, until ``patience`` seconds have gone by."""

    def __init__(self, patience: float) -> None:
        self._end = time.monotonic() + patience
        self._delay = 0.05

    def delay(self) -> float | None:
        """Seconds to wait now, or None when it is time to give up."""
        if time.monotonic() + self._delay > self._end:
            return None
        # Many notebooks lose the service at the same instant and should not come back at the same one.
        delay = self._delay * random.uniform(0.7, 1.3)  # noqa: S311
        self._delay = min(self._delay * 2, 3.0)
        return delay

    def pause(self) -> bool:
        """Wait; False when it is time to give up."""
        delay = self.delay()
        if delay is None:
            return False
        time.sleep(delay)
        return True


def client_options(profile: Profile, token: str) -> dict[str, Any]:
    """Arguments of ``httpx.Client`` and of ``httpx.AsyncClient``."""
    here = httpx.URL(profile.url).host in {"127.0.0.1", "localhost", "::1"}
    return {
        "base_url": profile.url,
        "headers": {"Authorization": f"token {token}", "Footplate-Version": __version__},
        # The follow stream ticks every 10 s.
        "timeout": httpx.Timeout(30.0, connect=5.0),
        "trust_env": not here,  # a proxy for the outside world does not know this machine's loopback
        # Loading the certificates takes 30 ms, which a plain http address does not need.
        "verify": profile.url.startswith("https:"),
    }


class Transport:
    """Requests to one service as one person. Safe to share between threads.

    Parameters
    ----------
    profile
        Where and who.
    patience
        Seconds for which a call is repeated while the service is away.
    """

    def __init__(self, profile: Profile, patience: float = 30.0) -> None:
        self.profile = profile
        self.patience = patience
        self._token = profile.token()
        self._http = httpx.Client(**client_options(profile, self._token))

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        repeat: bool = True,
        json: Any = None,
        content: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: frozenset[int] = frozenset(),
        patience: float | None = None,
    ) -> httpx.Response:
        """One request and its whole answer.

        Parameters
        ----------
        repeat
            Whether saying it twice does no harm.
        accept
            Statuses beside success that the caller understands.
        patience
            Seconds, where it is not the transport's.

        Raises
        ------
        RefusedError
            With the service's sentence; ``NotFoundError`` for 404.
        UnreachableError
            If it did not answer within the transport's patience.
        """
        given = {name: value for name, value in (params or {}).items() if value is not None}
        request = self._http.build_request(
            method, path, json=json, content=content, params=given, headers=dict(headers or {})
        )
        backoff = Backoff(self.patience if patience is None else patience)
        while True:
            try:
                response = self._http.send(request)
            except httpx.TransportError as error:
                if not (repeat or isinstance(error, _NEVER_SENT)) or not backoff.pause():
                    raise self._unreachable(error) from None
                continue
            if response.is_success or response.status_code in accept:
                return response
            if response.status_code in _AWAY and repeat and backoff.pause():
                continue
            if response.status_code == 401 and self._renew_token():
                request.headers["Authorization"] = f"token {self._token}"
                continue
            raise refusal(response, self.profile.url)

    @contextmanager
    def stream(
        self,
        path: str,
        params: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
        silence: float | None = None,
    ) -> Iterator[httpx.Response]:
        """One GET whose body is read as it comes; a lost connection is the caller's to mend.

        Parameters
        ----------
        silence
            Seconds without a byte after which it is given up; unset: longer than the service's ticks.
        """
        given = {name: value for name, value in params.items() if value is not None}
        timeout = self._http.timeout if silence is None else httpx.Timeout(min(silence, 30.0))
        with self._http.stream(
            "GET", path, params=given, headers=dict(headers or {}), timeout=timeout
        ) as response:
            if not response.is_success:
                response.read()
                if response.status_code in _AWAY:
                    raise httpx.RemoteProtocolError("the service is away")
                if response.status_code == 401 and self._renew_token():
                    raise httpx.RemoteProtocolError("the token was replaced")
                raise refusal(response, self.profile.url)
            yield response

    def _renew_token(self) -> bool:
        """Whether the token's file holds another one by now."""
        token = self.profile.token()
        if token == self._token:
            return False
        self._token = token
        self._http.headers["Authorization"] = f"token {token}"
        return True

    def _unreachable(self, error: httpx.TransportError) -> UnreachableError:
        reason = "it does not answer in time" if isinstance(error, httpx.TimeoutException) else "no answer"
        return UnreachableError(
            f"cannot reach Footplate at {self.profile.url}: {reason}; "
            "'footplate status' shows whether it runs here, 'footplate doctor' what is missing"
        )


def refusal(response: httpx.Response, url: str) -> RefusedError:
    """What the service's error answer means, as an exception."""
    status = response.status_code
    try:
        body = response.json()
        message, code = str(body["error"]), str(body.get("code", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        message, code = f"{url} answered {status} and is not Footplate, or its proxy is in trouble", "foreign"
    if status == 401:
        message += "; the token may have expired: a new dev machine or 'footplate up' makes another"
    return (NotFoundError if status == 404 and code != "foreign" else RefusedError)(message, code, status)

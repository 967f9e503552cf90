"""A Kubernetes API as plain documents: any kind, no models in between.

``kubernetes_asyncio`` finds the server and proves who we are; what goes over the wire is JSON as it stands,
because most kinds that are rendered here have no generated model, and large lists would spend their time in
one.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp
from kubernetes_asyncio import client, config
from kubernetes_asyncio.config import ConfigException

from footplate_hub.settings import KubernetesSettings

from ..base import EngineError
from .manifest import Manifest
from .pace import Pace

__all__ = ["ApiError", "ClusterApi", "Gone"]

_TIMEOUT = aiohttp.ClientTimeout(total=30.0)
_WATCH = 300  # seconds that the server holds a watch
_PAGE = 500
_QUIET = 30.0  # seconds without a word, after which a watch is begun again


class ApiError(Exception):
    """The server answered no, or not at all; ``status`` is 0 then."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        self.status, self.reason = status, reason
        super().__init__(message)


class Gone(Exception):  # noqa: N818 - an answer
    """The watch cannot go on from there: list again."""


class ClusterApi:
    """One server.

    Parameters
    ----------
    settings
        Where it is, and as whom we speak.
    """

    def __init__(self, settings: KubernetesSettings) -> None:
        self._settings = settings
        self._pace = Pace(settings.qps, settings.burst)
        self._client: client.ApiClient | None = None

    async def connect(self) -> None:
        """Read the kubeconfig, or the account of the pod that this is.

        Raises
        ------
        EngineError
            If there is none that can be used.
        """
        configuration = client.Configuration()
        try:
            if self._settings.kubeconfig is not None:
                await config.load_kube_config(
                    config_file=str(self._settings.kubeconfig),
                    context=self._settings.context,
                    client_configuration=configuration,
                    persist_config=False,
                )
            else:
                config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError, ValueError, TypeError) as error:
            where = self._settings.kubeconfig or "the service's own pod account"
            raise EngineError(f"{where} is no way into a Kubernetes cluster: {error}.") from error
        self._client = client.ApiClient(configuration)

    async def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def get(self, path: str, **query: str | int) -> Manifest:
        """One object, or one page of a list."""
        return await self._ask("GET", path, query=query)

    async def serves(self, version: str) -> bool:
        """Whether the server has an API group in this version."""
        try:
            await self.get(f"/apis/{version}")
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def create(self, path: str, manifest: Manifest, **query: str | int) -> Manifest | None:
        """Create an object; None if there is one of that name."""
        try:
            return await self._ask("POST", path, body=manifest, query=query)
        except ApiError as error:
            if error.status == 409 and error.reason == "AlreadyExists":
                return None
            raise

    async def delete(self, path: str, *, policy: str = "Background", **options: Any) -> None:
        """Delete an object and what it owns; one that is not there is no error."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy, **options}
        try:
            await self._ask("DELETE", path, body=body)
        except ApiError as error:
            if error.status != 404:
                raise

    async def patch(self, path: str, change: Manifest) -> Manifest:
        """Merge a change into an object."""
        return await self._ask("PATCH", path, body=change, content="application/merge-patch+json")

    async def list(
        self, path: str, *, keep: Callable[[Manifest], Manifest] = lambda item: item, **query: str | int
    ) -> tuple[list[Manifest], str]:
        """What is kept of a whole list, and the resource version from which it can be watched."""
        items: list[Manifest] = []
        more = ""
        while True:
            page = await self.get(path, limit=_PAGE, **({"continue": more} if more else {}), **query)
            items += map(keep, page.get("items") or [])
            more = page["metadata"].get("continue", "")
            if not more:
                return items, page["metadata"]["resourceVersion"]

    async def watch(self, path: str, version: str, **query: str | int) -> AsyncIterator[tuple[str, Manifest]]:
        """Changes after ``version``, until the server ends the watch.

        Raises
        ------
        Gone
            If it does not know that version any more.
        """
        asked: dict[str, str | int] = {"watch": 1, "resourceVersion": version, "allowWatchBookmarks": "true"}
        timeout = aiohttp.ClientTimeout(total=None, sock_read=_WATCH + _QUIET)
        response = await self._send(
            "GET", path, query={**asked, "timeoutSeconds": _WATCH, **query}, timeout=timeout
        )
        try:
            async for line in response.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    if event["object"].get("code") == 410:
                        raise Gone
                    raise ApiError(
                        event["object"].get("code", 0), "", event["object"].get("message", "watch")
                    )
                yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(0, "", f"the watch broke: {error}") from error
        finally:
            response.close()

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        body: Manifest | None = None,
        query: Mapping[str, str | int] | None = None,
        content: str = "application/json",
    ) -> Manifest:
        response = await self._send(method, path, body=body, query=query, content=content)
        async with response:
            try:
                text = await response.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise ApiError(0, "", f"the Kubernetes API broke off: {error}") from error
            answer: Manifest = json.loads(text) if text[:1] == b"{" else {}
            return answer

    async def _send(
        self,
        method: str,
        path: str,
        *,
        body: Manifest | None = None,
        query: Mapping[str, str | int] | None = None,
        content: str = "application/json",
        timeout: aiohttp.ClientTimeout = _TIMEOUT,  # noqa: ASYNC109 - of the connection, not of a task
    ) -> aiohttp.ClientResponse:
        assert self._client is not None, "connect first"
        await self._pace.turn()
        headers: dict[str, str] = {"Accept": "application/json", "Content-Type": content}
        params: list[tuple[str, str | int]] = list((query or {}).items())
        await self._client.update_params_for_auth(headers, params, ["BearerToken"])
        url = f"{self._client.configuration.host}{path}"
        try:
            response: aiohttp.ClientResponse = await self._client.rest_client.request(
                method, url, dict(params), headers, body, _preload_content=False, _request_timeout=timeout
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(
                0, "", f"the Kubernetes API does not answer: {error or type(error).__name__}"
            ) from error
        if response.status >= 300:
            raise await _refusal(response)
        return response


async def _refusal(response: aiohttp.ClientResponse) -> ApiError:
    async with response:
        text = await response.text(errors="replace")
    try:
        status = json.loads(text)
        reason, message = str(status.get("reason", "")), str(status.get("message", ""))
    except (ValueError, AttributeError):
        reason, message = "", text[:300]
    if response.status == 410:
        raise Gone
    return ApiError(response.status, reason, message or f"the Kubernetes API answered {response.status}")

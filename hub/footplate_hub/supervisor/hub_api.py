"""The few questions that the supervisor asks of the hub, as the hub's service ``supervisor``."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import quote

from . import http
from .folder import write_whole
from .platform import Platform

__all__ = ["keep_client_token", "stop_dev_machines"]

_CLIENT_NOTE = "footplate command line"


async def keep_client_token(platform: Platform, scopes: list[str]) -> None:
    """See to it that the command line has a token of the one person that the hub accepts.

    Raises
    ------
    OSError
        If the hub does not answer or does not make one.
    """
    file = platform.folder.client_token
    if file.exists():
        known = await http.ask(platform.ports.hub, "/hub/api/user", token=file.read_text().strip())
        if known.status == 200 and known.json().get("name") == platform.person:
            return
    answer = await http.ask(
        platform.ports.hub,
        f"/hub/api/users/{quote(platform.person, safe='')}/tokens",
        method="POST",
        token=platform.folder.secret("supervisor_token"),
        body={"note": _CLIENT_NOTE, "scopes": scopes},
    )
    if answer.status != 201:
        raise ConnectionError(f"the hub made no token for the command line (it answered {answer.status})")
    write_whole(file, answer.json()["token"] + "\n")


async def stop_dev_machines(platform: Platform, seconds: float = 20.0) -> None:
    """Stop every dev machine through the hub, so that its database knows.

    Raises
    ------
    OSError
        If the hub does not answer.
    """
    port, token = platform.ports.hub, platform.folder.secret("supervisor_token")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = await http.ask(port, "/hub/api/users?state=active", token=token)
        if answer.status != 200:
            raise ConnectionError(f"the hub answered {answer.status}")
        machines = [(user["name"], server) for user in answer.json() for server in user.get("servers") or {}]
        if not machines:
            return
        for person, server in machines:
            where = f"/hub/api/users/{quote(person, safe='')}/server{f's/{server}' if server else ''}"
            await http.ask(port, where, method="DELETE", token=token, timeout=seconds)
        await asyncio.sleep(0.1)

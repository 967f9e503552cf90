"""Ports: free ones are found once and then kept, and one in use is explained by who uses it."""

from __future__ import annotations

import socket
from collections.abc import Collection

import psutil

__all__ = ["free_ports", "is_free", "port_problem"]

_HIGHEST = 65535


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a program could listen there now."""
    return _refusal(port, host) is None


def port_problem(port: int, purpose: str, host: str = "127.0.0.1") -> str | None:
    """Say who has a port, in a sentence, or None if it is free."""
    refusal = _refusal(port, host)
    if refusal is None:
        return None
    user = _user_of(port)
    return (
        f"port {port}, needed for the {purpose}, cannot be used ({refusal}{user}); "
        "end that program or choose another port with --port"
    )


def free_ports(count: int, after: int, taken: Collection[int] = ()) -> list[int]:
    """The first free ports above ``after``: next to each other where possible.

    Parameters
    ----------
    taken
        Ports that are spoken for although nobody listens on them yet.
    """
    found: list[int] = []
    port = after + 1
    while len(found) < count and port <= _HIGHEST:
        if port not in taken and is_free(port):
            found.append(port)
        port += 1
    while len(found) < count:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in taken and port not in found:
            found.append(port)
    return found


def _refusal(port: int, host: str) -> str | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return (error.strerror or str(error)).lower()
    return None


def _user_of(port: int) -> str:
    """Name the listener where the system lets us see it: another user's program stays unnamed."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
                if connection.pid is None:
                    return " by a program of another user"
                return f" by {psutil.Process(connection.pid).name()}, process {connection.pid}"
    except psutil.Error:
        return ""
    return ""

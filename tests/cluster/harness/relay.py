"""Joins a port of one network to a port of another: ``relay.py PID ADDRESS PORT PID ADDRESS PORT``.

It listens in the network of the first process and connects from that of the second; 0 is the one that it was
started in. So the API server is reached from outside, and the service from pods.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import sys

_CLONE_NEWNET = 0x40000000


def enter(pid: int) -> None:
    """Go into another process's network; 0: stay."""
    if pid == 0:
        return
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)


def listen(pid: int, address: str, port: int) -> socket.socket:
    """A socket that listens in another process's network; this process stays where it is."""
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    enter(pid)
    try:
        return socket.create_server((address, port), backlog=512)
    finally:
        ctypes.CDLL(None).setns(here, _CLONE_NEWNET)
        os.close(here)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


async def main(server: socket.socket, address: str, port: int) -> None:
    """Relay until killed."""

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection(address, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, forth), _copy(back, writer))

    async with await asyncio.start_server(accepted, sock=server) as serving:
        await serving.serve_forever()


if __name__ == "__main__":
    listener = listen(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    enter(int(sys.argv[4]))
    asyncio.run(main(listener, sys.argv[5], int(sys.argv[6])))

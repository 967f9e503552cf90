"""Lets pods reach a port of the machine outside: ``relay.py PID ADDRESS PORT TARGET``.

The listening socket is opened in the network namespace of process PID; connections are made from this one.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import sys

_CLONE_NEWNET = 0x40000000


def listen_in(pid: int, address: str, port: int) -> socket.socket:
    """A socket that listens in another process's network."""
    libc = ctypes.CDLL(None, use_errno=True)
    here, there = os.open("/proc/self/ns/net", os.O_RDONLY), os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    if libc.setns(there, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
    try:
        return socket.create_server((address, port), backlog=512)
    finally:
        libc.setns(here, _CLONE_NEWNET)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def main(pid: int, address: str, port: int, target: int) -> None:
    """Relay until killed."""

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, forth), _copy(back, writer))

    server = await asyncio.start_server(accepted, sock=listen_in(pid, address, port))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))

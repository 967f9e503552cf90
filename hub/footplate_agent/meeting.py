"""Where a gang meets: a port held until the program takes it, a name that outlives rank 0's machine."""

import contextlib
import socket
import time
from typing import Dict

__all__ = ["LOOPBACK", "by_name", "hold_port"]

LOOPBACK = "127.0.0.1"
_PATIENCE = 8.0  # a name server that was asked too early may say no for five seconds
_ASK_EVERY = 0.2


def hold_port(address: str, wanted: int) -> socket.socket:
    """Bind a free port, ``wanted`` if it is; on loopback where the address is not this machine's own.

    A machine may be declared as several nodes, with addresses that exist on paper only.
    """
    for place, number in ((address, wanted), (address, 0), (LOOPBACK, wanted)):
        port = socket.socket(socket.AF_INET6 if ":" in place else socket.AF_INET, socket.SOCK_STREAM)
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            port.bind((place, number))
        except OSError:
            port.close()
        else:
            return port
    port = socket.socket()
    port.bind((LOOPBACK, 0))
    return port


def by_name(env: Dict[str, str], name: str, patience: float = _PATIENCE) -> Dict[str, str]:
    """The rendezvous with rank 0's name instead of its address, once that leads there.

    Who is told a name finds rank 0 again when it was moved to another machine. Where no name server knows it
    in time, the address stays.
    """
    deadline = time.monotonic() + patience
    while True:
        with contextlib.suppress(OSError):
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            if env["MASTER_ADDR"] in {address[4][0] for address in found}:
                return {**env, "MASTER_ADDR": name, "PET_MASTER_ADDR": name}
        if time.monotonic() > deadline:
            return env
        time.sleep(_ASK_EVERY)

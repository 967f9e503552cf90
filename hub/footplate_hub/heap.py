"""Gives memory that a burst needed back to the machine.

The C library keeps what was freed in the middle of its heap: after ten thousand jobs had come and gone, a
third of the service's memory held nothing. Where the library is not glibc, nothing is done.
"""

from __future__ import annotations

import ctypes
import threading
import time

__all__ = ["watch"]

_EVERY = 10.0  # seconds
_WORTH = 16 << 20  # bytes that are free in the heap before it is walked
_ARENA_MAX = -8  # M_ARENA_MAX of <malloc.h>
_ARENAS = 2  # threads here wait for disks; each with a heap of its own would only keep more


class _Use(ctypes.Structure):
    """``struct mallinfo2`` of <malloc.h>."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks",
            "keepcost",
        )
    )  # fmt: skip


def watch() -> bool:
    """Return free memory now and then, from a thread; whether this C library can. To be called first."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return False
    library.mallinfo2.restype = _Use
    library.mallopt(_ARENA_MAX, _ARENAS)
    threading.Thread(target=_for_ever, args=(library,), name="heap", daemon=True).start()
    return True


def _for_ever(library: ctypes.CDLL) -> None:
    while True:
        time.sleep(_EVERY)
        if library.mallinfo2().fordblks >= _WORTH:
            library.malloc_trim(0)

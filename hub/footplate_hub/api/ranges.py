"""``Range: bytes=a-b``, ``a-`` and ``-n``, one range a request."""

from __future__ import annotations

import re

from .errors import Refusal

__all__ = ["parse_range"]

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The bytes asked for, as ``[start, end)``; None for all of them.

    Raises
    ------
    Refusal
        416, with the size in ``Content-Range``, if there are no such bytes.
    """
    if header is None:
        return None
    found = _RANGE.fullmatch(header.replace(" ", ""))
    if found is None or found[0] == "bytes=-":
        return None  # RFC 9110: a range that is not understood is ignored
    first, last = found.groups()
    if first == "":
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1 if last else size)
    if start >= end:
        raise Refusal(
            416,
            f"there are {size} bytes, and none in that range",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, end

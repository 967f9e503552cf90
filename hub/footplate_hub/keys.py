"""Key files: made once, whole or not at all, readable by the service alone."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

__all__ = ["read_or_make"]


def read_or_make(file: Path, make: Callable[[], bytes]) -> bytes:
    """The key in ``file``, which is made with mode 0600 where there is none."""
    fresh = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    try:
        # Written whole under another name first: a service that is killed here must not leave half a key.
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
            written.write(make())
            written.flush()
            os.fsync(written.fileno())
        os.link(fresh, file)
    except FileExistsError:
        pass
    finally:
        fresh.unlink(missing_ok=True)
    return file.read_bytes()

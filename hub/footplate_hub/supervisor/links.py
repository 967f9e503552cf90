"""Login links: each opens the platform once, within five minutes, for whoever could read the data folder.

On a laptop the loopback address is open to every local user, so being there proves nothing. A link carries a
random token; the folder keeps only its hash, as the name of an empty file whose age is the token's age.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from enum import Enum
from pathlib import Path
from urllib.parse import quote, urlencode

__all__ = ["LINK_SECONDS", "Redeemed", "make_link", "redeem"]

LINK_SECONDS = 300.0


class Redeemed(Enum):
    """What became of a token that was shown."""

    GOOD = "good"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


def make_link(login: Path, address: str, notebook: str | None = None) -> str:
    """Make a link that logs in once.

    Parameters
    ----------
    login
        The folder of unused links.
    address
        Where the browser finds the platform, such as ``http://127.0.0.1:8000``.
    notebook
        A file to open, relative to the folder that the dev machine shows.
    """
    _sweep(login)
    token = secrets.token_urlsafe(24)
    os.close(os.open(_slip(login, token), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    query = {"token": token} | ({"open": notebook} if notebook else {})
    return f"{address}/hub/link?{urlencode(query, quote_via=quote)}"


def redeem(login: Path, token: str) -> Redeemed:
    """Use a token up; of several at the same instant exactly one is told `Redeemed.GOOD`."""
    slip = _slip(login, token)
    try:
        age = time.time() - slip.stat().st_mtime
        slip.unlink()
    except FileNotFoundError:
        return Redeemed.UNKNOWN
    return Redeemed.GOOD if age < LINK_SECONDS else Redeemed.EXPIRED


def _slip(login: Path, token: str) -> Path:
    return login / hashlib.sha256(token.encode()).hexdigest()


def _sweep(login: Path) -> None:
    """Forget links that nobody used; a day late, so that their owner still reads "expired"."""
    for slip in login.iterdir():
        try:
            if time.time() - slip.stat().st_mtime > 86400:
                slip.unlink()
        except FileNotFoundError:
            continue

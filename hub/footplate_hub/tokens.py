"""What a replica proves itself with: nothing is stored, so nothing can leak from the database.

``fpr.<attempt>.<role>.<index>.<mac>``, the mac being HMAC-SHA256 of the rest under a key that only the
service reads. A token is worth something only while its attempt is not ended, which the caller checks.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path

from .keys import read_or_make

__all__ = ["ReplicaId", "ReplicaTokens"]

_KEY_BYTES = 32


@dataclass(frozen=True)
class ReplicaId:
    """One replica of one attempt."""

    attempt: str
    role: str
    index: int


class ReplicaTokens:
    """Mints and verifies replica tokens.

    Parameters
    ----------
    key_file
        Made with a new key and mode 0600 where there is none.
    """

    def __init__(self, key_file: Path) -> None:
        self._key = read_or_make(key_file, lambda: secrets.token_bytes(_KEY_BYTES))

    def mint(self, replica: ReplicaId) -> str:
        """The token of a replica; the same one each time."""
        claims = f"fpr.{replica.attempt}.{replica.role}.{replica.index}"
        return f"{claims}.{self._mac(claims)}"

    def verify(self, token: str) -> ReplicaId | None:
        """Whose token this is, or None if it was not minted here."""
        claims, _, mac = token.rpartition(".")
        if not hmac.compare_digest(self._mac(claims).encode(), mac.encode()):
            return None
        _, attempt, role, index = claims.split(".")
        return ReplicaId(attempt, role, int(index))

    def _mac(self, claims: str) -> str:
        return hmac.new(self._key, claims.encode(), hashlib.sha256).hexdigest()

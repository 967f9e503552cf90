"""Secrets at rest: what the database holds is worthless without the key file beside it.

Values are sealed with Fernet (AES-128-CBC and HMAC-SHA256) and opened only for the replica that names
them. The browser's session cookie is sealed with the same key, so that it is no hub token to whoever
reads it.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from .keys import read_or_make

__all__ = ["Sealing", "SealingError"]


class SealingError(Exception):
    """What was sealed cannot be opened: the key is another one, or the bytes were changed."""


class Sealing:
    """Seals and opens short texts.

    Parameters
    ----------
    key_file
        Made with a new key and mode 0600 where there is none.
    """

    def __init__(self, key_file: Path) -> None:
        self._fernet = Fernet(read_or_make(key_file, Fernet.generate_key))

    def seal(self, text: str) -> bytes:
        """A sealed copy, different each time."""
        return self._fernet.encrypt(text.encode())

    def open(self, sealed: bytes) -> str:
        """The text again.

        Raises
        ------
        SealingError
            If it was not sealed with this key, or was changed.
        """
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise SealingError("a secret cannot be opened with this key; store it again") from None

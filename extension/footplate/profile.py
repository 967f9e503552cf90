"""Where the platform is and who asks: from variables on a dev machine, from ``footplate up`` on a laptop."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import NotConfiguredError

__all__ = ["Profile", "find_profile", "footplate_dir"]


@dataclass(frozen=True)
class Profile:
    """A service and a way to prove oneself to it.

    Parameters
    ----------
    url
        The service's address, with a slash at the end.
    token_file
        Read anew whenever the token is needed: its owner may replace it.
    fixed_token
        The token itself, where a variable gave it.
    """

    url: str
    token_file: Path | None = None
    fixed_token: str | None = field(default=None, repr=False)

    def token(self) -> str:
        """The token.

        Raises
        ------
        NotConfiguredError
            If its file cannot be read or is empty.
        """
        if self.fixed_token:
            return self.fixed_token
        assert self.token_file is not None
        try:
            token = self.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise NotConfiguredError(f"the token in {self.token_file} cannot be read: {reason}") from None
        if not token or not token.isprintable() or not token.isascii():
            raise NotConfiguredError(f"{self.token_file} does not hold a token")
        return token


def footplate_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of ``footplate up``: ``$FOOTPLATE_DIR``, else ``~/.footplate``."""
    named = environ.get("FOOTPLATE_DIR")
    return Path(named).expanduser() if named else Path.home() / ".footplate"


def find_profile(environ: Mapping[str, str] = os.environ) -> Profile:
    """Find the platform.

    ``FOOTPLATE_URL`` with ``FOOTPLATE_TOKEN_FILE``, ``FOOTPLATE_TOKEN`` or ``JUPYTERHUB_API_TOKEN``, in this
    order; without ``FOOTPLATE_URL``, the ``client.json`` that ``footplate up`` leaves in its folder.

    Raises
    ------
    NotConfiguredError
        If there is none, or it is not whole.
    """
    url = environ.get("FOOTPLATE_URL")
    if not url:
        return _from_folder(footplate_dir(environ))
    url = _checked(url, "FOOTPLATE_URL")
    if environ.get("FOOTPLATE_TOKEN_FILE"):
        return Profile(url, token_file=Path(environ["FOOTPLATE_TOKEN_FILE"]))
    token = environ.get("FOOTPLATE_TOKEN") or environ.get("JUPYTERHUB_API_TOKEN")
    if not token:
        raise NotConfiguredError(
            "FOOTPLATE_URL is set but there is no token; set FOOTPLATE_TOKEN_FILE to a file with one "
            "(the hub's token page makes them)"
        )
    return Profile(url, fixed_token=token.strip())


def _from_folder(folder: Path) -> Profile:
    file = folder / "client.json"
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return Profile(_checked(values["url"], str(file)), token_file=folder / values["token_file"])
    except FileNotFoundError:
        raise NotConfiguredError(
            "no platform found: start one with 'footplate up', or set FOOTPLATE_URL and FOOTPLATE_TOKEN_FILE"
        ) from None
    except OSError as error:
        raise NotConfiguredError(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise NotConfiguredError(f"{file} is damaged; 'footplate up' writes it anew") from None


def _checked(url: str, where: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise NotConfiguredError(f"{where} says {url!r}, which is not an http address")
    return url if url.endswith("/") else url + "/"

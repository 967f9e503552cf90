"""Accounts of this machine for the length of a test."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Account", "account", "missing_for_accounts"]


@dataclass(frozen=True)
class Account:
    """A person, or a part of the system, with an account."""

    name: str
    password: str
    home: Path


def missing_for_accounts() -> str | None:
    """What this machine lacks for making accounts, to be named in a skip."""
    if os.geteuid() != 0:
        return "needs root, to make accounts"
    absent = [tool for tool in ("useradd", "userdel", "chpasswd") if shutil.which(tool) is None]
    return f"needs {absent[0]}" if absent else None


@contextlib.contextmanager
def account(*, system: bool = False) -> Iterator[Account]:
    """Make an account, and remove it with its home."""
    found = Account(
        f"fp-{secrets.token_hex(4)}", secrets.token_urlsafe(12), Path(tempfile.mkdtemp(prefix="fp-home-"))
    )
    words = ["--system"] if system else []
    _run(["useradd", *words, "--home-dir", str(found.home), "--shell", "/bin/sh", found.name])
    try:
        shutil.chown(found.home, found.name)
        _run(["chpasswd"], given=f"{found.name}:{found.password}\n")
        yield found
    finally:
        subprocess.run(["userdel", "--force", found.name], capture_output=True, check=False)
        shutil.rmtree(found.home, ignore_errors=True)


def _run(command: list[str], given: str = "") -> None:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

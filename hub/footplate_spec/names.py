"""What names may look like, and how a job's id is made from its name."""

from __future__ import annotations

import re
import secrets
from typing import Annotated

from pydantic import StringConstraints

__all__ = ["Digest", "EnvName", "GroupPath", "JobId", "Name", "attempt_id", "job_id"]

# A DNS label with room for the platform's suffixes: every engine accepts it as an object's name.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
GroupPath = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*$", max_length=200)
]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]
JobId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?$")]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]

_ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"  # nothing that reads like something else


def job_id(name: str) -> str:
    """A new id that a person can read aloud: ``digits-7k3f9m``.

    Six characters of thirty: with a hundred thousand jobs of one name, the chance that a new one
    collides is one in seven thousand, and the store then draws again.
    """
    return f"{name}-{''.join(secrets.choice(_ALPHABET) for _ in range(6))}"


def attempt_id(job: str, number: int) -> str:
    """The id of a job's n-th attempt, counted from 1: ``digits-7k3f9m-a1``."""
    return f"{job}-a{number}"


def slug(text: str, fallback: str = "job") -> str:
    """The nearest valid ``Name`` to any text: ``Train_v2.py`` gives ``train-v2-py``."""
    cleaned = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
    return cleaned or fallback

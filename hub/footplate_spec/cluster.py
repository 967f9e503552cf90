"""How the queue of the platform is set: its named priorities, and its clusters with their policies."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from .base import Answer, Submitted
from .group import QueuePolicy
from .names import Name

__all__ = ["Cluster", "Priorities", "Urgency"]

Urgency = Annotated[int, Field(ge=-(10**9), le=10**9, strict=True)]


class Priorities(Submitted):
    """Names that jobs may give as their priority; the larger number goes first. ``normal`` is always one."""

    what: ClassVar[str] = "priorities"
    priorities: dict[Name, Urgency]

    @field_validator("priorities")
    @classmethod
    def _normal_is_there(cls, priorities: dict[str, int]) -> dict[str, int]:
        if "normal" not in priorities:
            raise ValueError("priorities must contain 'normal'")
        return priorities


class Cluster(Answer):
    """A place to run, and how those who wait for it are ordered where their groups do not say it.

    Parameters
    ----------
    held
        Why nothing starts there for now, if so.
    """

    name: str
    policy: QueuePolicy
    held: str | None = None

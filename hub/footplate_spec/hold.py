"""Maintenance: a group or a cluster where nothing starts for now."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from .base import Answer

__all__ = ["Hold"]


class Hold(Answer):
    """Nothing of a group, or on a cluster, starts until it is released; what runs goes on.

    Parameters
    ----------
    name
        The group, with all groups below it, or the cluster.
    why
        What everybody who waits is told.
    by
        Who said so.
    """

    kind: Literal["group", "cluster"]
    name: str
    why: str
    by: str
    since: datetime

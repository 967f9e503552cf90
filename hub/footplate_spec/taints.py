"""What keeps jobs away from a machine, and what makes an exception: Kubernetes' words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from .base import Answer, Submitted

__all__ = ["Taint", "Toleration", "tolerated"]


class Taint(Answer):
    """On a machine: only what tolerates it may start there."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"


class Toleration(Submitted):
    """Of a taint.

    Parameters
    ----------
    value, effect
        Unset: any.
    """

    what: ClassVar[str] = "a toleration"
    key: Annotated[str, StringConstraints(min_length=1, max_length=317)]
    value: Annotated[str, StringConstraints(max_length=63)] | None = Field(default=None)
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None

    def tolerates(self, taint: Taint) -> bool:
        """Whether this is an exception from that."""
        return (
            self.key == taint.key
            and self.value in {None, taint.value}
            and self.effect in {None, taint.effect}
        )


def tolerated(taint: Taint, tolerations: Iterable[Toleration]) -> bool:
    """Whether one of them tolerates it."""
    return any(toleration.tolerates(taint) for toleration in tolerations)

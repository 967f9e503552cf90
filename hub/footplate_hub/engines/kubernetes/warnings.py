"""What a cluster's controllers complain of: why an object that was made brings forth no pod. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from .manifest import Manifest

__all__ = ["SELECTOR", "complaint", "whose"]

SELECTOR = "type=Warning"
_FAILED = ("Fail", "Err")  # how the reasons begin that controllers give when a pod cannot be made
T = TypeVar("T")


def complaint(event: Manifest) -> tuple[str, str] | None:
    """The name of the object that an event is about, and the sentence; none where pods tell it themselves."""
    about = event.get("involvedObject") or {}
    if event.get("type") != "Warning" or about.get("kind") == "Pod" or not about.get("name"):
        return None
    told = (event.get("message") or "").strip().rstrip(".")
    if not (event.get("reason") or "").startswith(_FAILED):
        return None
    return about["name"], f"Kubernetes has not made its pod: {told}."


def whose(name: str, made: Mapping[str, T]) -> T | None:
    """To whom an object belongs: it was made by us, or is named after one that was, as a child is."""
    while name:
        if name in made:
            return made[name]
        name = name.rpartition("-")[0]
    return None

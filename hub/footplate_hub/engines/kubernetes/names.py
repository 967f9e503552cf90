"""Names and labels of all that an attempt is made of: it is found again by them alone. Pure."""

from __future__ import annotations

import hashlib

__all__ = [
    "ATTEMPT",
    "FIRST",
    "INDEX",
    "JOB",
    "KUEUE",
    "MANAGED",
    "OFFSET",
    "ROLE",
    "SELECTOR",
    "labels",
    "meeting",
    "object_name",
    "short",
]

_WORDS = ("attempt", "job", "role", "index", "offset", "group", "owner", "first")
ATTEMPT, JOB, ROLE, INDEX, OFFSET, GROUP, OWNER, FIRST = (f"footplate/{word}" for word in _WORDS)
KUEUE = "kueue.x-k8s.io/queue-name"
MANAGED = "app.kubernetes.io/managed-by"
SELECTOR = f"{MANAGED}=footplate"
_LONGEST = 40  # a pod's host name has the replica's index behind it, and its name six characters more


def object_name(attempt: str, role: str | None = None) -> str:
    """The name of an attempt's objects; a long one is cut, and told from others by a hash."""
    whole = f"{attempt}-{role}" if role is not None else attempt
    return short(whole)


def meeting(attempt: str) -> str:
    """The host name of a gang's first replica; a Service's name begins with a letter."""
    return f"meet-{object_name(attempt)}"


def short(name: str) -> str:
    """A name that Kubernetes takes for every kind."""
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 9].rstrip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def labels(attempt: str, job: str, role: str | None = None) -> dict[str, str]:
    """What everything of an attempt carries."""
    found = {MANAGED: "footplate", ATTEMPT: attempt, JOB: job}
    return found | {ROLE: role} if role is not None else found

"""Groups that had the least of their share first.

Shares are compared from the top of the tree down (as Slurm's Fair Tree does): first those of the top-level
groups, then, within the one whose turn it is, those of the groups below it. A group's own workloads stand
beside the groups below it.
"""

from __future__ import annotations

from .use import Use

__all__ = ["key"]


def key(group: str, use: Use) -> tuple[float, ...]:
    """The shares of a group and of all above it, from the top down, then that of its own workloads alone."""
    parts = group.split("/")
    paths = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
    return (*(use.share(path) for path in paths), use.own_share(group))

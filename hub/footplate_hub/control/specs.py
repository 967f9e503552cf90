"""Specs as objects, as few as there is use for.

The jobs of a sweep are often alike to the letter, and ten thousand share one object. Of a job that only waits
the queue needs a few fields (`outline`), and those are found without making an object of all the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic_core import from_json

from footplate_spec import After, JobSpec, Resources

from ..queue.model import Amount, RoleShape, Shape

__all__ = ["Outline", "amount", "outline", "read_spec", "shape_of"]

_OUTLINES = 20_000
# What people vary from job to job, and no outline shows; group, priority and limit are columns of their own.
_NOT_OF_JOB = frozenset(
    ("name", "source", "command", "env", "secrets", "python", "setup", "mounts", "image",
     "group", "priority",
     "time_limit", "recovery")
)  # fmt: skip
_NOT_OF_ROLE = ("command", "env", "image")


@lru_cache(maxsize=1024)
def read_spec(text: str) -> JobSpec:
    """The spec behind its stored text; it is frozen, so equal ones may be one."""
    return JobSpec.model_validate_json(text)


@dataclass(frozen=True, slots=True)
class Outline:
    """What the queue must know of a job that waits."""

    shape: Shape
    after: tuple[After, ...]
    array: bool


class _Outlines:
    """Those that were made, by what of a spec's document makes them; equal shapes are one object."""

    def __init__(self) -> None:
        self._known: dict[str, Outline] = {}
        self._shapes: dict[Shape, Shape] = {}

    def of(self, text: str) -> Outline:
        document: dict[str, Any] = from_json(text, cache_strings="keys")
        for name in _NOT_OF_JOB:
            document.pop(name, None)
        for role in document.get("roles", ()):
            for name in _NOT_OF_ROLE:
                role.pop(name, None)
        key = repr(document)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _OUTLINES:
                self._known.clear()
                self._shapes.clear()
            spec = read_spec(text)
            shape = shape_of(spec)
            shape = self._shapes.setdefault(shape, shape)
            known = self._known[key] = Outline(shape, tuple(spec.after), spec.array is not None)
        return known


_outlines = _Outlines()


@lru_cache(maxsize=1024)
def outline(text: str) -> Outline:
    """The outline of a spec by its stored text; the texts of thousands of jobs have few."""
    return _outlines.of(text)


def shape_of(spec: JobSpec) -> Shape:
    """What decides where a job fits."""
    return Shape(
        roles=tuple(
            RoleShape(
                role.name,
                role.fewest,
                amount(role.resources),
                tuple(role.resources.flavors),
                most=role.most if role.most > role.fewest else None,
            )
            for role in spec.roles
        ),
        clusters=tuple(spec.clusters),
        exclude_nodes=frozenset(spec.exclude.nodes),
        exclude_addresses=frozenset(spec.exclude.addresses),
        labels=tuple(sorted(spec.placement.nodes.items())),
        topology=spec.placement.topology,
        region="" if spec.region == "any" else spec.region,
        tolerations=tuple((one.key, one.value, one.effect) for one in spec.placement.tolerations),
        extended=tuple(sorted(spec.roles[0].resources.extended.items())),
    )


def amount(resources: Resources) -> Amount:
    """What one replica needs."""
    return Amount(resources.cpu, resources.memory, resources.gpu)

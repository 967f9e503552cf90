"""Specs as objects. The jobs of a sweep are often alike to the letter, and ten thousand share one object."""

from __future__ import annotations

from functools import lru_cache

from footplate_spec import JobSpec

__all__ = ["read_spec"]


@lru_cache(maxsize=1024)
def read_spec(text: str) -> JobSpec:
    """The spec behind its stored text; it is frozen, so equal ones may be one."""
    return JobSpec.model_validate_json(text)

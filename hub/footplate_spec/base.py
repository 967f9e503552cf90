"""How strict a model is: strict on what people submit, tolerant when reading what the platform says.

A submitted field that is unknown, or known to the contract but not built, is refused with the nearest
name, so that a typing error never runs a job with a default in its place.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

__all__ = ["Answer", "Submitted", "explain_error", "explain_validation"]


class Submitted(BaseModel):
    """What a person writes: unknown fields are refused, and the nearest known name is offered."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
    what: ClassVar[str] = "this"

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        known = _known(cls)
        for name in value:
            if name not in known:
                near = difflib.get_close_matches(str(name), sorted(known), n=1, cutoff=0.6)
                hint = f"did you mean {near[0]!r}?" if near else f"it knows {', '.join(sorted(known))}"
                raise ValueError(f"{cls.what} has no field {str(name)!r}; {hint}")
        return value


@functools.cache
def _known(model: type[BaseModel]) -> frozenset[str]:
    aliases = {field.alias for field in model.model_fields.values() if field.alias}
    return frozenset(aliases | model.model_fields.keys())


class Answer(BaseModel):
    """What the platform says: a field that this version does not know is left alone."""

    model_config = ConfigDict(extra="ignore")


def explain_validation(error: ValidationError, what: str = "") -> str:
    """One sentence for the first thing that is wrong, with the place where it stands."""
    return explain_error(error.errors(include_url=False, include_context=False)[0], what)


def explain_error(first: Mapping[str, Any], what: str = "") -> str:
    """`explain_validation`, for one of pydantic's errors."""
    place = ".".join(str(part) for part in first["loc"] if not _is_union_label(part))
    message = first["msg"].removeprefix("Value error, ")
    where = f"{what}.{place}" if what and place else what or place
    return f"{where}: {message}" if where else message


def _is_union_label(part: object) -> bool:
    """Pydantic names the branch of a union in the path; people did not write it."""
    return isinstance(part, str) and ("[" in part or part in {"str", "int", "constrained-str"})

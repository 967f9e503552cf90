"""Changes to a job that was sent, in the options' words, as the service's fields."""

from __future__ import annotations

from typing import Any

from footplate_spec import JobSpec
from footplate_spec.units import parse_seconds

from .errors import WrongCallError
from .options import Options, read_options

__all__ = ["changed_fields", "new_limit"]

_ROLE = ("gpus", "cpu", "memory", "flavor", "replicas", "on_failure", "on_success")
_FIELDS = {
    "priority": "priority",
    "time": "time_limit",
    "region": "region",
    "env": "env",
    "after": "after",
    "exclude": "exclude",
    "nodes_with": "placement",
    "topology": "placement",
    "max_restarts": "recovery",
    "grace": "recovery",
    "fence_after": "recovery",
    **dict.fromkeys(_ROLE, "roles"),
}


def changed_fields(spec: JobSpec, changes: dict[str, Any]) -> dict[str, Any]:
    """The body of the service's edit.

    Raises
    ------
    WrongCallError
        For a word that is none, or one that cannot change any more.
    """
    options: Options = read_options(changes)
    for word in changes:
        if word not in _FIELDS:
            raise WrongCallError(f"{word} cannot change once a job is sent; stop it and send it anew")
    if not changes:
        raise WrongCallError("there is nothing to change")
    if len(spec.roles) > 1 and set(changes) & set(_ROLE):
        raise WrongCallError("this job has several roles; stop it and send it anew")
    # A whole spec checks the values; only the fields that were named are taken from it.
    wanted = options.spec(spec.name, command=["true"])
    body: dict[str, Any] = {}
    for word in changes:
        name = _FIELDS[word]
        if name == "roles":
            body["roles"] = [_role(spec, wanted, changes)]
        elif name == "recovery":
            old, new = spec.recovery, wanted.recovery
            body["recovery"] = {
                "max_restarts": new.max_restarts if "max_restarts" in changes else old.max_restarts,
                "checkpoint_grace": new.checkpoint_grace if "grace" in changes else old.checkpoint_grace,
                "fence_after": new.fence_after if "fence_after" in changes else old.fence_after,
            }
        elif name == "placement":
            field = {"nodes_with": "nodes"}.get(word, word)
            placed = body.get("placement") or spec.placement.model_dump()
            body["placement"] = {**placed, field: wanted.placement.model_dump()[field]}
        else:
            body[name] = wanted.model_dump(mode="json", by_alias=True)[name]
    return body


def _role(spec: JobSpec, wanted: JobSpec, changes: dict[str, Any]) -> dict[str, Any]:
    """The job's only role with what was named changed."""
    role = spec.roles[0].model_dump(mode="json", by_alias=True)
    new = wanted.roles[0].model_dump(mode="json", by_alias=True)
    for word in _ROLE:
        if word not in changes:
            continue
        if word in role:
            role[word] = new[word]
        else:
            name = "gpu" if word == "gpus" else word
            role["resources"][name] = new["resources"][name]
    return role


def new_limit(time: str | float, present: int) -> int:
    """A limit in seconds; one that begins with a plus is added to the present one.

    Raises
    ------
    WrongCallError
        If it is not a length of time.
    """
    text = str(time).strip()
    try:
        seconds = parse_seconds(text.removeprefix("+"))
    except ValueError as error:
        raise WrongCallError(f"time: {error}") from None
    return present + seconds if text.startswith("+") else seconds

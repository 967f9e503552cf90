"""What one may say about a job besides its code: the same words in Python, in a magic and in a shell.

`Options` becomes fields of the contract here and nowhere else. An option is here because the contract has
its field and the platform does what it says.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from footplate_spec import JobSpec, explain_validation, slug

from .errors import WrongCallError

__all__ = ["OTHER_WORDS", "Options", "read_options"]

# What people type who come from other tools.
OTHER_WORDS = {
    "gpu": "gpus",
    "cpus": "cpu",
    "mem": "memory",
    "ram": "memory",
    "timeout": "time",
    "time_limit": "time",
    "hours": "time",
    "project": "group",
    "nodes": "replicas",
    "workers": "replicas",
    "environment": "env",
    "secret": "secrets",
    "volume": "volumes",
    "mounts": "volumes",
    "packages": "pip",
    "dependency": "after",
    "depends_on": "after",
}


_OUTCOMES = ("succeeded", "failed", "finished")


@dataclass(frozen=True)
class Options:
    """What a job is given and how it is treated.

    Parameters
    ----------
    name
        The job's name; its id begins with it.
    gpus, cpu, memory, flavor
        For each replica: whole GPUs, cores (``2``, ``"500m"``), memory (``"64Gi"``), kinds of node.
    replicas
        Processes in the gang; ``"2-8"``: as many of these as there is room for when it starts.
    time
        Limit of the user's process, ``"2h"``; unset: the group's default.
    group, priority, cluster, region
        Who pays, how urgent, where.
    image, shm
        On clusters that run containers: what it runs in, and the size of ``/dev/shm`` (``"8Gi"``).
    env
        Variables of the process.
    secrets
        Names of stored secrets; ``"name:file"`` for a file instead of a variable.
    volumes
        Path in the job by volume name, or ``"name:path"``.
    pip, setup
        Packages and a shell script on top of the environment, installed once.
    array, grid, at_once
        Many runs of one job: a number, each with ``FOOTPLATE_ARRAY_INDEX``; or values by name, ``{"lr": [0.1,
        0.01]}`` or ``"lr=0.1,0.01"``, each combination with ``FOOTPLATE_PARAM_LR``; and how many at one time.
    after
        Jobs that must have succeeded first: handles or ids; ``"id:failed"`` and ``"id:finished"`` wait for
        another end.
    exclude
        Nodes or addresses to stay away from.
    nodes_with
        Labels that nodes must carry.
    tolerate
        Taints of nodes that do not keep it away: ``"key"``, ``"key=value"``, ``"key=value:NoSchedule"``.
    extended
        For each replica, other things that nodes of a Kubernetes cluster count: ``{"rdma/hca": 1}``.
    topology
        Where all replicas must be: on one ``"node"``, in one ``"rack"``; unset: as close as they fit.
    max_restarts, grace, on_failure, on_success
        What happens after a fault; time for a checkpoint when asked to stop.
    fence_after
        On a cluster: after so long without a word from the service a replica ends itself, and another may
        start in its place; unset: only once the cluster confirms its death.
    python
        Another interpreter than this one.
    """

    name: str | None = None
    gpus: int = 0
    cpu: str | float | None = None
    memory: str | int | None = None
    flavor: str | Iterable[str] | None = None
    replicas: int | str | Mapping[str, int] = 1
    time: str | float | None = None
    group: str | None = None
    priority: str | None = None
    cluster: str | Iterable[str] | None = None
    image: str | None = None
    shm: str | int | None = None
    region: str | None = None
    env: Mapping[str, Any] | Iterable[str] = field(default_factory=dict)
    secrets: Iterable[str] = ()
    volumes: Mapping[str, str] | Iterable[str] = ()
    pip: str | Iterable[str] = ()
    setup: str | None = None
    array: int | None = None
    grid: Mapping[str, Iterable[Any]] | Iterable[str] = ()
    at_once: int | None = None
    after: Any = ()
    exclude: str | Iterable[str] = ()
    nodes_with: Mapping[str, str] | Iterable[str] = ()
    tolerate: Iterable[str] = ()
    extended: Mapping[str, int] | Iterable[str] = ()
    topology: str | None = None
    max_restarts: int | None = None
    grace: str | float | None = None
    fence_after: str | float | None = None
    on_failure: str | None = None
    on_success: str | None = None
    python: str | None = None

    def spec(self, default_name: str, **code: Any) -> JobSpec:
        """The job.

        Parameters
        ----------
        default_name
            Any text; the job is named after it where no name was given.
        code
            ``source``, ``command`` and ``python`` of the contract.

        Raises
        ------
        WrongCallError
            With one sentence for the first thing that is wrong.
        """
        self._check_numbers()
        resources = _given(cpu=self.cpu, memory=self.memory, flavor=_many(self.flavor), shm=self.shm)
        if self.gpus:
            resources["gpu"] = self.gpus
        if extended := _pairs(self.extended, "extended"):
            resources["extended"] = {name: _number(str(count)) for name, count in extended.items()}
        role = _given(on_failure=self.on_failure, on_success=self.on_success)
        role |= {"replicas": _count(self.replicas), "resources": resources}
        values = _given(
            group=self.group,
            priority=self.priority,
            time_limit=self.time,
            cluster=_many(self.cluster),
            image=self.image,
            region=self.region,
        )
        optional = {
            "env": self._env(),
            "secrets": [self._secret(text) for text in _list(self.secrets)],
            "mounts": [{"volume": name, "path": path} for name, path in self._volumes()],
            "setup": {**({"pip": pip} if (pip := _list(self.pip)) else {}), **_given(script=self._setup())},
            "array": self._array(),
            "after": self._after(),
            "exclude": self._exclude(),
            "placement": _given(
                nodes=_pairs(self.nodes_with, "nodes_with") or None,
                topology=self.topology,
                tolerations=[_toleration(text) for text in _list(self.tolerate)] or None,
            ),
            "recovery": _given(
                max_restarts=self.max_restarts, checkpoint_grace=self.grace, fence_after=self.fence_after
            ),
        }
        values |= {name: value for name, value in optional.items() if value}
        values |= {"name": self.name or slug(default_name), "roles": [role], **code}
        try:
            return JobSpec.model_validate(values)
        except ValidationError as error:
            raise WrongCallError(_in_our_words(explain_validation(error))) from None

    def _check_numbers(self) -> None:
        for name, least in (("gpus", 0), ("max_restarts", 0)):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise WrongCallError(f"{name} must be a whole number, not {value!r}")
            if value < least:
                raise WrongCallError(f"{name} must be {least} or more, not {value}")

    def _env(self) -> dict[str, str]:
        if isinstance(self.env, Mapping):
            return {name: str(value) for name, value in self.env.items()}
        found = {}
        for text in _list(self.env):
            name, given, value = text.partition("=")
            if not given and name not in os.environ:
                raise WrongCallError(f"env {name!r} has no value here; write {name}=VALUE")
            found[name] = value if given else os.environ[name]
        return found

    @staticmethod
    def _secret(text: str) -> dict[str, str]:
        name, given, kind = text.partition(":")
        if given and kind not in {"env", "file"}:
            raise WrongCallError(f"secret {text!r}: write {name}, {name}:env or {name}:file")
        return {"name": name, "as": kind or "env"}

    def _volumes(self) -> list[tuple[str, str]]:
        if isinstance(self.volumes, Mapping):
            return list(self.volumes.items())
        found = []
        for text in _list(self.volumes):
            name, given, path = text.partition(":")
            found.append((name, path if given else name))
        return found

    def _setup(self) -> str | None:
        """The script's text: a file's, if the one line names a file."""
        if self.setup is None or "\n" in self.setup or not Path(self.setup).is_file():
            return self.setup
        return Path(self.setup).read_text(encoding="utf-8")

    def _array(self) -> dict[str, Any]:
        if isinstance(self.grid, Mapping):
            grid = {name: list(values) for name, values in self.grid.items()}
        else:
            grid = {
                name: [_number(value) for value in values.split(",")]
                for name, values in _pairs(self.grid, "grid").items()
            }
        found = _given(count=self.array, grid=grid or None, at_once=self.at_once)
        if found and "count" not in found and not grid:
            raise WrongCallError("at_once goes with array or grid")
        return found

    def _after(self) -> list[dict[str, str]]:
        found = []
        for one in [self.after] if isinstance(self.after, str) or hasattr(self.after, "id") else self.after:
            job, given, outcome = str(getattr(one, "id", one)).partition(":")
            if given and outcome not in _OUTCOMES:
                raise WrongCallError(
                    f"after {job}:{outcome}: write {', '.join(f'{job}:{o}' for o in _OUTCOMES)}"
                )
            found.append({"job": job, "outcome": outcome or _OUTCOMES[0]})
        return found

    def _exclude(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for text in _list(self.exclude):
            try:
                ipaddress.ip_network(text, strict=False)
                found.setdefault("addresses", []).append(text)
            except ValueError:
                found.setdefault("nodes", []).append(text)
        return found


def read_options(given: Mapping[str, Any]) -> Options:
    """Keyword arguments as options.

    Raises
    ------
    WrongCallError
        For a word that is none, with the nearest one that is.
    """
    known = {option.name for option in dataclasses.fields(Options)}
    for word in given:
        if word not in known:
            near = OTHER_WORDS.get(word) or next(
                iter(difflib.get_close_matches(word, sorted(known), 1)), None
            )
            hint = f"did you mean {near}?" if near else f"there are {', '.join(sorted(known))}"
            raise WrongCallError(f"there is no option {word!r}; {hint}")
    return Options(**{word: value for word, value in given.items() if value is not None})


def _in_our_words(sentence: str) -> str:
    """The contract's places by the names of the options."""
    for place, word in (
        ("roles.0.resources.gpu", "gpus"),
        ("roles.0.resources.", ""),
        ("roles.0.", ""),
        ("time_limit", "time"),
        ("mounts", "volumes"),
        ("recovery.checkpoint_grace", "grace"),
        ("recovery.", ""),
        ("placement.nodes", "nodes_with"),
        ("placement.tolerations", "tolerate"),
        ("placement.", ""),
    ):
        if sentence.startswith(place):
            return word + sentence.removeprefix(place)
    return sentence


def _toleration(text: str) -> dict[str, Any]:
    """``key=value:effect``, of which all but the key may be left out."""
    taint, _, effect = text.partition(":")
    key, _, value = taint.partition("=")
    return _given(key=key, value=value or None, effect=effect or None)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _list(value: str | Iterable[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _many(value: str | Iterable[str] | None) -> str | list[str] | None:
    """``"h100,a100"`` and ``["h100", "a100"]`` as a list, one name as a name."""
    if value is None:
        return None
    names = value.split(",") if isinstance(value, str) else list(value)
    return names[0] if len(names) == 1 else names


def _count(value: int | str | Mapping[str, int]) -> int | dict[str, int]:
    """``4`` and ``"4"`` as a number, ``"2-8"`` as a range."""
    if isinstance(value, Mapping):
        return dict(value)
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", str(value)) if not isinstance(value, (bool, float)) else None
    if found is None:
        least = isinstance(value, int) and not isinstance(value, bool)
        asked = "1 or more" if least else "a whole number, or a range: 4, '2-8'"
        raise WrongCallError(f"replicas must be {asked}, not {value!r}")
    fewest, most = int(found[1]), int(found[2] or found[1])
    if fewest < 1:
        raise WrongCallError(f"replicas must be 1 or more, not {value}")
    if most < fewest:
        raise WrongCallError(f"replicas {value!r}: write the fewest first, then the most")
    return fewest if most == fewest else {"min": fewest, "max": most}


def _number(text: str) -> int | float | str:
    """``0.1`` and ``3`` as numbers, all else as it was typed."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _pairs(value: Mapping[str, Any] | Iterable[str], what: str) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    found = {}
    for text in _list(value):
        name, given, rest = text.partition("=")
        if not given:
            raise WrongCallError(f"{what} {text!r}: write NAME=VALUE")
        found[name] = rest
    return found

"""A job as people submit it. A field is here because it works; all others are refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, StringConstraints, Tag, field_validator, model_validator

from .base import Submitted
from .names import Digest, EnvName, GroupPath, JobId, Name
from .taints import Toleration
from .units import Bytes, Cpu, Seconds

__all__ = [
    "After",
    "Array",
    "Command",
    "Elastic",
    "Exclude",
    "FunctionSource",
    "GitSource",
    "JobSpec",
    "Mount",
    "OnFailure",
    "OnSuccess",
    "Payload",
    "Placement",
    "Python",
    "Recovery",
    "Resources",
    "Role",
    "SecretUse",
    "Setup",
    "Source",
    "WorkspaceSource",
]

_FEWEST_WORDS = 30  # seconds; agents and service speak every ten
OnFailure = Literal["restart_replica", "restart_gang", "fail_job", "ignore"]
OnSuccess = Literal["wait_all", "end_job"]
Command = list[Annotated[str, StringConstraints(max_length=100_000)]] | str


Image = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./:@-]*$", max_length=500)]
# As Kubernetes takes them: the part before a slash is a domain.
LabelName = Annotated[
    str,
    StringConstraints(
        pattern=r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$",
        max_length=317,
    ),
]
LabelValue = Annotated[
    str, StringConstraints(pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$", max_length=63)
]
GridValue = bool | int | float | Annotated[str, StringConstraints(max_length=10_000)]


class WorkspaceSource(Submitted):
    """A snapshot of a folder: the digest of its tree (a ``footplate_spec.tree.Tree`` blob)."""

    what: ClassVar[str] = "source.workspace"
    digest: Digest


class GitSource(Submitted):
    """A commit of a git repository. ``ref`` is resolved to ``commit`` at submit and recorded."""

    what: ClassVar[str] = "source.git"
    url: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    ref: str = "HEAD"
    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40,64}$")] | None = None
    path: str = ""
    submodules: bool = False
    secret: Name | None = Field(
        default=None, description="Name of a secret: a token for https, a private key for ssh."
    )

    @field_validator("url")
    @classmethod
    def _no_options_and_no_passwords(cls, url: str) -> str:
        if url.startswith("-") or "::" in url:
            raise ValueError(f"{url!r} is not a repository's address")
        scheme, found, rest = url.partition("://")
        if found and "@" in rest.split("/")[0] and ":" in rest.split("/")[0].split("@")[0]:
            raise ValueError("a password does not belong in a URL; store it as a secret and name it")
        if found and scheme not in {"https", "http", "ssh", "git", "file"}:
            raise ValueError(f"{scheme}:// is not a way to fetch a repository")
        return url

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        if path.startswith("/") or ".." in path.split("/"):
            raise ValueError("is a folder inside the repository")
        return path


class Payload(Submitted):
    """One value that travels: how it is encoded and where its bytes are."""

    what: ClassVar[str] = "a value"
    encoding: Literal["source", "pickle", "npy", "arrow"]
    digest: Digest


class FunctionSource(Submitted):
    """A notebook cell (``payload.encoding`` is ``source``) or a function (``pickle``).

    Parameters
    ----------
    payload
        The cell's text, or the pickled ``(function, args, kwargs)``.
    inputs
        Variables that the cell finds defined.
    outputs
        Variables that come back; a function's return value is named ``return``.
    """

    what: ClassVar[str] = "source.function"
    payload: Payload
    inputs: dict[str, Payload] = Field(default_factory=dict)
    outputs: list[str] = Field(default_factory=list)


class Source(Submitted):
    """Where the code comes from: one of these, or none when it is already there."""

    what: ClassVar[str] = "source"
    workspace: WorkspaceSource | None = None
    git: GitSource | None = None
    function: FunctionSource | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.workspace and self.git:
            raise ValueError("code comes from a workspace or from git, not from both")
        return self


class Python(Submitted):
    """The submitter's own interpreter, so that the code finds the packages it was written with.

    Parameters
    ----------
    version
        ``3.11``: pickled values need the same minor version on both sides.
    executable
        Path of the interpreter, where the cluster shares the submitter's file system.
    packages
        Digest of the installed packages, ``name==version`` a line: what the run is recorded with.
    """

    what: ClassVar[str] = "python"
    version: Annotated[str, StringConstraints(pattern=r"^3\.\d{1,2}$")]
    executable: Annotated[str, StringConstraints(pattern=r"^/", max_length=4096)] | None = None
    packages: Digest | None = None


class Setup(Submitted):
    """Packages and a script on top of the environment, installed once and cached by content."""

    what: ClassVar[str] = "setup"
    pip: list[Annotated[str, StringConstraints(min_length=1, max_length=500)]] = Field(default_factory=list)
    script: Annotated[str, StringConstraints(max_length=100_000)] = ""
    time_limit: Seconds = 900

    @field_validator("pip")
    @classmethod
    def _requirements_only(cls, pip: list[str]) -> list[str]:
        for requirement in pip:
            if requirement.lstrip().startswith("-"):
                raise ValueError(
                    f"{requirement!r} is an option of pip, not a package; indexes are the platform's setting"
                )
        return pip


class Resources(Submitted):
    """What one replica needs."""

    what: ClassVar[str] = "resources"
    cpu: Cpu = Field(default=1000, validate_default=False)
    memory: Bytes = 2 * 2**30
    gpu: Annotated[int, Field(ge=0, le=100_000, strict=True)] = 0
    flavor: Name | list[Name] | None = None
    shm: Bytes | None = Field(
        default=None, description="Size of /dev/shm, out of `memory`; for clusters that run containers."
    )

    extended: dict[LabelName, Annotated[int, Field(ge=1, strict=True)]] = Field(
        default_factory=dict,
        description="Other things that nodes count, `rdma/hca: 1`; for clusters that run containers.",
    )

    @field_validator("extended")
    @classmethod
    def _with_a_domain(cls, extended: dict[str, int]) -> dict[str, int]:
        for name in extended:
            if "/" not in name:
                raise ValueError(f"{name!r} is no extended resource; their names have a domain, 'rdma/hca'")
        return extended

    @field_validator("cpu", "memory")
    @classmethod
    def _some(cls, amount: int) -> int:
        if amount <= 0:
            raise ValueError("must be more than nothing")
        return amount

    @property
    def flavors(self) -> list[str]:
        """The flavors that will do, in the user's order; none means any."""
        return [self.flavor] if isinstance(self.flavor, str) else list(self.flavor or [])


Count = Annotated[int, Field(ge=1, le=10_000, strict=True)]


class Elastic(Submitted):
    """A number of replicas that is chosen when the job starts: as many as there is room for."""

    what: ClassVar[str] = "replicas"
    min: Count
    max: Count

    @model_validator(mode="after")
    def _a_range(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
        return self


def _fixed_or_elastic(value: Any) -> str:
    return "elastic" if isinstance(value, (dict, Elastic)) else "fixed"


class Role(Submitted):
    """A named set of identical replicas."""

    what: ClassVar[str] = "a role"
    name: Name = "worker"
    replicas: Annotated[
        Annotated[Count, Tag("fixed")] | Annotated[Elastic, Tag("elastic")], Discriminator(_fixed_or_elastic)
    ] = 1
    command: Command | None = None
    image: Image | None = None
    env: dict[EnvName, str] = Field(default_factory=dict)
    resources: Resources = Field(default_factory=Resources)
    on_failure: OnFailure | None = Field(
        default=None,
        description="Unset: a fault of the platform or a machine restarts the gang, "
        "and the program's own error fails the job.",
    )
    on_success: OnSuccess = "wait_all"

    @property
    def fewest(self) -> int:
        """Replicas without which it does not start; once it has, those that it was given."""
        return self.replicas.min if isinstance(self.replicas, Elastic) else self.replicas

    @property
    def most(self) -> int:
        """Replicas that it can use."""
        return self.replicas.max if isinstance(self.replicas, Elastic) else self.replicas


class SecretUse(Submitted):
    """A stored secret as the job sees it: an environment variable, or a file named by one."""

    what: ClassVar[str] = "a secret"
    name: Name
    as_: Literal["env", "file"] = Field(default="env", alias="as")

    @property
    def variable(self) -> str:
        """``wandb-key`` is found in ``WANDB_KEY``."""
        return self.name.upper().replace("-", "_")


class Mount(Submitted):
    """A volume that the platform's owner declared, at a path the code expects."""

    what: ClassVar[str] = "a mount"
    volume: Name
    path: Annotated[str, StringConstraints(min_length=1, max_length=4096)]

    @field_validator("path")
    @classmethod
    def _plain(cls, path: str) -> str:
        if ".." in path.split("/") or path.strip("/") == "":
            raise ValueError("is a folder, without '..'")
        return path


class Exclude(Submitted):
    """Machines that the job must not run on, by name or by address."""

    what: ClassVar[str] = "exclude"
    nodes: list[str] = Field(default_factory=list)
    addresses: list[str] = Field(default_factory=list)


class Placement(Submitted):
    """Machines that the job must run on, and how close together.

    Parameters
    ----------
    nodes
        Labels that they all carry.
    topology
        ``node``: all replicas on one; ``rack``: in one rack; ``any``: as close together as they fit now.
    tolerations
        Taints of nodes that do not keep it away.
    labels, annotations
        What its pods carry, for the tools of those who look after a cluster that runs containers.
    """

    what: ClassVar[str] = "placement"
    nodes: dict[str, str] = Field(default_factory=dict)
    topology: Literal["node", "rack", "any"] = "any"
    tolerations: list[Toleration] = Field(default_factory=list)
    labels: dict[LabelName, LabelValue] = Field(default_factory=dict)
    annotations: dict[LabelName, str] = Field(default_factory=dict)

    @field_validator("labels", "annotations")
    @classmethod
    def _not_ours(cls, given: dict[str, str]) -> dict[str, str]:
        for name in given:
            if name.startswith(("footplate/", "kubernetes.io/", "app.kubernetes.io/managed-by")):
                raise ValueError(f"{name!r} is set by the platform")
        return given


class Recovery(Submitted):
    """What happens after a fault, and how long a process may write its checkpoint when asked to stop.

    Parameters
    ----------
    fence_after
        On a cluster: a replica that has had no word from the service for so long ends itself, and another may
        start in its place though the cluster cannot confirm its death. ``never``: it runs on, and so long no
        other starts. On the service's own machine deaths are always certain.
    """

    what: ClassVar[str] = "recovery"
    max_restarts: Annotated[int, Field(ge=0, le=1000, strict=True)] = 3
    checkpoint_grace: Seconds = 60
    fence_after: Seconds | Literal["never"] = "never"

    @model_validator(mode="after")
    def _no_fence_before_some_words_are_missed(self) -> Self:
        least = self.checkpoint_grace + _FEWEST_WORDS
        if self.fence_after != "never" and self.fence_after < least:
            raise ValueError(
                f"fence_after must be at least {least}s: checkpoint_grace, and {_FEWEST_WORDS}s in which "
                "words of a busy service may be missed"
            )
        return self


class After(Submitted):
    """A job that must have ended in a certain way before this one may start."""

    what: ClassVar[str] = "after"
    job: JobId
    outcome: Literal["succeeded", "failed", "finished"] = "succeeded"


class Array(Submitted):
    """Many runs of one job: ``count`` of them, or one for each combination of the values of ``grid``.

    Parameters
    ----------
    at_once
        The most that wait or run at one time; unset: as many as there is room for.
    """

    what: ClassVar[str] = "array"
    count: Annotated[int, Field(ge=1, le=100_000, strict=True)] | None = None
    grid: dict[EnvName, Annotated[list[GridValue], Field(min_length=1, max_length=100_000)]] | None = None
    at_once: Annotated[int, Field(ge=1, strict=True)] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.count is None) == (not self.grid):
            raise ValueError("an array has a count or a grid")
        if self.size > 100_000:
            raise ValueError(f"is {self.size} runs; an array has at most 100000")
        names = [name.upper() for name in self.grid or {}]
        if len(set(names)) != len(names):
            raise ValueError(f"two names of the grid are {max(names, key=names.count)} as variables")
        return self

    @property
    def size(self) -> int:
        """How many runs."""
        return self.count or math.prod(len(values) for values in (self.grid or {}).values())

    def values(self, index: int) -> dict[str, bool | float | str]:
        """What the grid says of one run; the last name changes fastest."""
        found: dict[str, bool | float | str] = {}
        for name, values in reversed((self.grid or {}).items()):
            index, place = divmod(index, len(values))
            found[name] = values[place]
        return dict(reversed(found.items()))

    def variables(self, index: int) -> dict[str, str]:
        """What one run finds in its environment."""
        named = {f"FOOTPLATE_PARAM_{name.upper()}": str(value) for name, value in self.values(index).items()}
        return {"FOOTPLATE_ARRAY_INDEX": str(index), **named}


def _one_or_many(value: Any) -> str:
    return "many" if isinstance(value, list) else "one"


class JobSpec(Submitted):
    """A training, or any batch, run."""

    what: ClassVar[str] = "a job"
    name: Name = "job"
    source: Source = Field(default_factory=Source)
    command: Command | None = None
    image: Image | None = Field(
        default=None, description="Unset: the cluster's own. For clusters that run containers."
    )
    env: dict[EnvName, str] = Field(default_factory=dict)
    secrets: list[SecretUse] = Field(default_factory=list)
    python: Python | None = None
    setup: Setup = Field(default_factory=Setup)
    roles: Annotated[list[Role], Field(min_length=1, max_length=100)] = Field(
        default_factory=lambda: [Role()]
    )
    mounts: list[Mount] = Field(default_factory=list)
    cluster: Annotated[
        Annotated[Name, Tag("one")] | Annotated[list[Name], Tag("many")],
        Discriminator(_one_or_many),
    ] = "any"
    region: Name = Field(default="any", description="Where its cluster must be.")
    group: GroupPath | None = Field(
        default=None, description="Unset: the submitter's only group, or the platform's default."
    )
    priority: Name = "normal"
    time_limit: Seconds | None = Field(
        default=None, description="Unset: the group's default; never above its maximum."
    )
    after: Annotated[list[After], Field(max_length=100)] = Field(default_factory=list)
    array: Array | None = None
    exclude: Exclude = Field(default_factory=Exclude)
    placement: Placement = Field(default_factory=Placement)
    recovery: Recovery = Field(default_factory=Recovery)

    @model_validator(mode="after")
    def _runs_something(self) -> Self:
        names = [role.name for role in self.roles]
        if len(set(names)) != len(names):
            raise ValueError(f"two roles are named {max(names, key=names.count)!r}")
        if any(role.resources.extended != self.roles[0].resources.extended for role in self.roles):
            raise ValueError("all roles of a job ask for the same 'extended' resources")
        if self.source.function is not None:
            if self.python is None:
                raise ValueError("a function needs the Python version that it was written with")
            if self.command is not None or any(role.command for role in self.roles):
                raise ValueError("a job runs a function or a command, not both")
        else:
            for role in self.roles:
                if not (role.command or self.command):
                    raise ValueError(f"nothing to run: role {role.name!r} has no command")
        awaited = [after.job for after in self.after]
        if len(set(awaited)) != len(awaited):
            raise ValueError(f"after names {max(awaited, key=awaited.count)!r} twice")
        if self.time_limit is not None and self.time_limit <= 0:
            raise ValueError("time_limit must be more than nothing")
        return self

    def run(self, index: int) -> JobSpec:
        """The job that is one run of this array."""
        assert self.array is not None
        env = {**self.env, **self.array.variables(index)}
        return self.model_copy(update={"array": None, "after": [], "env": env})

    @property
    def replicas(self) -> int:
        """Processes in the gang, all roles together: the fewest, where the start decides."""
        return sum(role.fewest for role in self.roles)

    @property
    def leading_role(self) -> str:
        """The role whose replica 0 is rank 0: ``master`` where there is one, else the first."""
        names = [role.name for role in self.roles]
        return "master" if "master" in names else names[0]

    def sized(self, counts: Mapping[str, int]) -> JobSpec:
        """The job with as many replicas of each role as it was given."""
        if not any(isinstance(role.replicas, Elastic) for role in self.roles):
            return self
        roles = [role.model_copy(update={"replicas": counts[role.name]}) for role in self.roles]
        return self.model_copy(update={"roles": roles})

    @property
    def for_containers(self) -> list[str]:
        """What it asks for that only clusters which run containers can give."""
        asked = {
            "images": self.image or any(role.image for role in self.roles),
            "shm": any(role.resources.shm for role in self.roles),
            "extended resources": any(role.resources.extended for role in self.roles),
            "pods for labels and annotations": self.placement.labels or self.placement.annotations,
        }
        return [name for name, given in asked.items() if given]

    @property
    def clusters(self) -> list[str]:
        """The clusters that will do, in the user's order; none means any."""
        named = [self.cluster] if isinstance(self.cluster, str) else list(self.cluster)
        return [] if "any" in named else named

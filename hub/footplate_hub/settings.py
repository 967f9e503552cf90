"""Everything that the platform's owner may choose: ``footplate.yaml``, and ``FOOTPLATE_*`` variables over it.

One object, validated once, before anything starts: an unknown key, a group that occurs twice or a node
without a flavor is refused with one sentence that names the place.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from footplate_spec import Group, QueuePolicy, Submitted, explain_validation
from footplate_spec.cluster import Urgency
from footplate_spec.names import GroupPath, Name
from footplate_spec.units import Bytes, Cpu, Seconds

from .kubernetes_settings import KubernetesSettings
from .quota_tree import WrongPlaceError, check_groups, check_policy
from .yaml_lines import line_of, repeated_key

__all__ = [
    "ClusterSettings",
    "IndexSettings",
    "KubernetesSettings",
    "LimitSettings",
    "NodeSettings",
    "PriceSettings",
    "PricesSettings",
    "RetentionSettings",
    "Settings",
    "SettingsError",
    "VolumeSettings",
    "load_settings",
]


class SettingsError(Exception):
    """The configuration cannot be used; the message is one sentence for the owner."""


class NodeSettings(Submitted):
    """A machine of the local engine, or a part of one that is to be treated as a machine.

    Parameters
    ----------
    gpu
        With ``declared``, a number without devices behind it; otherwise the indexes' count must exist.
    gpus
        Indexes of real devices that belong to this node; unset: the first ``gpu`` ones found.
    levels
        Where it stands, from the outside in, ``[hall-1, rack-a]``: the last one is its rack.
    """

    what: ClassVar[str] = "a node"
    name: Name
    flavor: Name = "cpu"
    cpu: Cpu
    memory: Bytes
    gpu: Annotated[int, Field(ge=0, le=1024)] = 0
    gpus: list[Annotated[int, Field(ge=0)]] | None = None
    declared: bool = False
    address: str = "127.0.0.1"
    labels: dict[str, str] = Field(default_factory=dict)
    levels: list[Name] = Field(default_factory=list)

    @model_validator(mode="after")
    def _counts_agree(self) -> Self:
        if self.declared and self.gpus is not None:
            raise ValueError("declared GPUs have no device indexes; remove 'gpus' or 'declared'")
        if self.gpus is not None and len(self.gpus) != self.gpu:
            raise ValueError(f"names {len(self.gpus)} devices in 'gpus' but counts {self.gpu} in 'gpu'")
        return self


class ClusterSettings(Submitted):
    """A place to run. Without ``nodes``, the local engine offers this machine as it finds it.

    Parameters
    ----------
    region
        Where it is; jobs may ask for a region.
    """

    what: ClassVar[str] = "a cluster"
    name: Name = "local"
    engine: Literal["local", "kubernetes", "volcano", "kubeflow", "kubeflow-v1", "kubedl"] = "local"
    region: Name | None = None
    nodes: list[NodeSettings] | None = None
    kubernetes: KubernetesSettings | None = None
    policy: QueuePolicy | None = None

    @model_validator(mode="after")
    def _says_what_its_engine_needs(self) -> Self:
        if self.engine == "local" and self.kubernetes is not None:
            raise ValueError("'kubernetes' is for clusters that are one; the engine here is local")
        if self.engine != "local" and self.kubernetes is None:
            raise ValueError(f"engine {self.engine} needs 'kubernetes' with at least an image")
        if self.engine != "local" and self.nodes is not None:
            raise ValueError("the nodes of a Kubernetes cluster are found, not declared; remove 'nodes'")
        return self


class VolumeSettings(Submitted):
    """A folder of the machine that jobs may mount; ``groups`` empty: everyone may."""

    what: ClassVar[str] = "a volume"
    name: Name
    path: Path
    description: str = ""
    groups: list[GroupPath] = Field(default_factory=list)

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        if not path.is_absolute():
            raise ValueError(f"{str(path)!r} must be an absolute path")
        return path


class IndexSettings(Submitted):
    """Where ``setup.pip`` finds packages; unset: what pip is configured to use on the node."""

    what: ClassVar[str] = "indexes"
    index_url: str | None = None
    extra_index_urls: list[str] = Field(default_factory=list)
    find_links: list[str] = Field(default_factory=list)


class LimitSettings(Submitted):
    """Largest things that the service takes, in bytes unless said otherwise."""

    what: ClassVar[str] = "limits"
    workspace: Bytes = 2 * 2**30
    blob: Bytes = 64 * 2**30
    request: Bytes = 64 * 2**20
    log: Bytes = 2**30
    queued_per_person: Annotated[int, Field(ge=1)] = 20_000
    disk_free: Bytes = 256 * 2**20


class PriceSettings(Submitted):
    """What an hour on nodes of one flavor costs: of one GPU, and of one core."""

    what: ClassVar[str] = "a price"
    gpu_hour: Annotated[float, Field(ge=0)] = 0.0
    core_hour: Annotated[float, Field(ge=0)] = 0.0


class PricesSettings(Submitted):
    """What things cost, by flavor; what has no price has no cost."""

    what: ClassVar[str] = "prices"
    currency: str = "EUR"
    flavors: dict[Name, PriceSettings] = Field(default_factory=dict)


class RetentionSettings(Submitted):
    """How long things are kept after they stopped being used."""

    what: ClassVar[str] = "retention"
    jobs: Seconds = 90 * 86400
    events: Seconds = 30 * 86400
    logs: Seconds = 30 * 86400
    blobs: Seconds = 86400


class Settings(BaseSettings):
    """The service's settings.

    Parameters
    ----------
    data
        The service's folder, mode 0700: database, keys, blobs, logs, metrics.
    url
        Where people and agents reach the service, prefix included, with a slash at the end.
    bind_host, bind_port
        Where it listens.
    database
        SQLAlchemy URL; unset: ``sqlite+aiosqlite`` in ``data``.
    default_group
        The group of people who are in none.
    storage
        The storage root: checkpoints live below it.
    launcher
        Socket of the root launcher on a server for several people; unset: everything runs as this user.
    """

    model_config = SettingsConfigDict(
        env_prefix="FOOTPLATE_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    data: Path
    url: str = "http://127.0.0.1:8000/services/footplate/"
    bind_host: str = "127.0.0.1"
    bind_port: Annotated[int, Field(ge=1, le=65535)] = 8002
    database: str | None = None
    default_group: GroupPath = "default"
    groups: list[Group] = Field(default_factory=list)
    priorities: dict[Name, Urgency] = Field(default_factory=lambda: {"low": -100, "normal": 0, "high": 100})
    clusters: list[ClusterSettings] = Field(default_factory=lambda: [ClusterSettings()])
    volumes: list[VolumeSettings] = Field(default_factory=list)
    storage: str | None = None
    indexes: IndexSettings = Field(default_factory=IndexSettings)
    prices: PricesSettings = Field(default_factory=PricesSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    launcher: Path | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Variables win over the file, which `load_settings` passes as arguments."""
        return env_settings, init_settings

    @field_validator("url")
    @classmethod
    def _ends_with_slash(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is not an http address")
        return url if url.endswith("/") else url + "/"

    @field_validator("storage")
    @classmethod
    def _a_file_root(cls, storage: str | None) -> str | None:
        if storage is not None and not storage.startswith("file:///"):
            raise ValueError(f"{storage!r} is not supported; write file:///absolute/path")
        return storage

    @model_validator(mode="after")
    def _names_occur_once(self) -> Self:
        for what, names in (
            ("cluster", [cluster.name for cluster in self.clusters]),
            ("volume", [volume.name for volume in self.volumes]),
            *(
                (f"node of cluster {cluster.name}", [node.name for node in cluster.nodes or []])
                for cluster in self.clusters
            ),
        ):
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"{what} {name!r} occurs twice")
        if "normal" not in self.priorities:
            raise ValueError("priorities must contain 'normal'")
        return self

    @model_validator(mode="after")
    def _quotas_make_a_tree(self) -> Self:
        for cluster in self.clusters:
            check_policy(cluster.policy, f"cluster {cluster.name!r}")
        try:
            check_groups(self.groups, self.flavors, priced=bool(self.prices.flavors))
        except WrongPlaceError as error:
            raise WrongPlaceError(str(error), ("groups", *error.place)) from None
        return self

    @property
    def database_url(self) -> str:
        """The database's URL, with the default filled in."""
        return self.database or f"sqlite+aiosqlite:///{self.data / 'footplate.sqlite'}"

    @property
    def storage_path(self) -> Path:
        """The folder behind the storage root."""
        return Path(self.storage.removeprefix("file://")) if self.storage else self.data / "storage"

    @property
    def prefix(self) -> str:
        """The path under which the service answers, with slashes on both ends."""
        return "/" + self.url.split("://", 1)[1].partition("/")[2]

    @property
    def flavors(self) -> dict[str, set[str] | None]:
        """The flavors of each cluster; None where they are known only once its machines are found."""
        return {
            cluster.name: None if cluster.nodes is None else {node.flavor for node in cluster.nodes}
            for cluster in self.clusters
        }


def load_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """Read ``footplate.yaml`` and the environment.

    Parameters
    ----------
    config
        The file; unset: ``$FOOTPLATE_CONFIG``, else ``footplate.yaml`` beside or in the data folder.
    overrides
        Values that win over both, for callers that know better (the supervisor's ports).

    Raises
    ------
    SettingsError
        With one sentence that names the file, the line and the place in it.
    """
    path = config or (Path(os.environ["FOOTPLATE_CONFIG"]) if "FOOTPLATE_CONFIG" in os.environ else None)
    text = _read(path) if path is not None else ""
    try:
        return Settings(**{**_values(path, text), **overrides})
    except ValidationError as error:
        where = f"{path}" if path is not None else "FOOTPLATE_* variables"
        if path is not None and (line := line_of(text, _place(error))) is not None:
            where += f" line {line}"
        raise SettingsError(f"{where}: {explain_validation(error)}") from None


def _place(error: ValidationError) -> tuple[str | int, ...]:
    first = error.errors(include_url=False)[0]
    cause = first.get("ctx", {}).get("error")
    return cause.place if isinstance(cause, WrongPlaceError) else first["loc"]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None


def _values(path: Path | None, text: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text)
        repeated = repeated_key(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{path}{line} is not YAML: {getattr(error, 'problem', error)}") from None
    if repeated is not None:
        key, where = repeated
        raise SettingsError(f"{path} line {where}: {key!r} occurs twice; put both into one")
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingsError(f"{path} must hold keys and values, not a {type(values).__name__}")
    return values

"""``footplate render``: what a job would be made of on a Kubernetes cluster, without any cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import yaml
from pydantic import ValidationError

from footplate_spec import JobSpec, explain_validation

from ..engines.base import Attempt, PlacedReplica
from ..engines.kubernetes.render import KINDS, Context
from ..engines.kubernetes.render import render as manifests_of
from ..settings import KubernetesSettings, Settings, SettingsError, load_settings

__all__ = ["example", "render"]

_FILE = click.Path(dir_okay=False, path_type=Path)
_WRONG = 2
_IMAGE = "python:3.11"


@click.command()
@click.argument("spec", type=_FILE)
@click.option("--engine", required=True, type=click.Choice(sorted(KINDS)), help="Whose objects.")
@click.option("--settings", type=_FILE, help="A footplate.yaml: as on its first cluster of that engine.")
@click.option("--cluster", help="As on this cluster of the settings instead.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list for programs.")
def render(spec: Path, engine: str, settings: Path | None, cluster: str | None, as_json: bool) -> int:
    """Print the objects that the job of SPEC, YAML or JSON, would be made of.

    What only an admission decides is written as a name that says so: the attempt is NAME-attempt, its nodes
    are chosen-by-the-queue, the agent's ConfigMap is footplate-agent, and every token is the word token.
    """
    try:
        job = JobSpec.model_validate(_read(spec))
        service = load_settings(settings, data=Path())
        reach = _reach(service, engine, cluster)
        refused = KINDS[engine].refused(job)
        if refused is not None:
            raise SettingsError(f"{engine} has no {refused}")
        group = job.group or service.default_group
        if reach.namespace_of(group) is None:
            raise SettingsError(f"the cluster has no namespace for group {group}; give the job another group")
    except ValidationError as error:
        return _wrong(f"{spec}: {explain_validation(error)}")
    except SettingsError as error:
        return _wrong(str(error))
    made = manifests_of(*example(job, reach, service), KINDS[engine])
    if as_json:
        click.echo(json.dumps(made))
    else:
        click.echo(yaml.safe_dump_all(made, sort_keys=False), nl=False)
    return 0


def example(spec: JobSpec, reach: KubernetesSettings, service: Settings) -> tuple[Attempt, Context]:
    """An attempt with the fewest replicas of each role, and placeholders for what an admission decides."""
    replicas = tuple(
        PlacedReplica(role.name, index, "chosen-by-the-queue")
        for role in spec.roles
        for index in range(role.fewest)
    )
    attempt = Attempt(
        id=f"{spec.name}-attempt",
        job=spec.name,
        number=1,
        owner="owner",
        group=spec.group or service.default_group,
        spec=spec,
        time_limit=spec.time_limit or 0,
        replicas=replicas,
    )
    context = Context(
        settings=reach,
        agent="footplate-agent",
        service=reach.service or service.url,
        tokens={(replica.role, replica.index): "token" for replica in replicas},
        indexes=service.indexes.model_dump(mode="json"),
        log_limit=service.limits.log,
    )
    return attempt, context


def _reach(service: Settings, engine: str, cluster: str | None) -> KubernetesSettings:
    for one in service.clusters:
        if one.kubernetes is not None and (one.name == cluster if cluster else one.engine == engine):
            return one.kubernetes
    if cluster is not None:
        raise SettingsError(f"the settings have no Kubernetes cluster {cluster!r}; name one with --settings")
    return KubernetesSettings(image=_IMAGE)


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not YAML: {error}") from None


def _wrong(sentence: str) -> int:
    click.echo(f"footplate: {sentence}", err=True)
    return _WRONG

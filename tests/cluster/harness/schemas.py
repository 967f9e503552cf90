"""What an API server would take, from the schemas that the pinned modules carry: no server is needed.

Unknown fields are refused as by strict field validation. Kubernetes' own kinds come from its OpenAPI
documents, all others from their CRDs.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema

from .engines import crds
from .tools import source

__all__ = ["wrong"]

_OPENAPI = "api/openapi-spec/v3"
_PROJECTS = {  # of an API group's last words
    "volcano.sh": "volcano",
    "trainer.kubeflow.org": "trainer",
    "kubeflow.org": "training-operator",
    "kubedl.io": "kubedl",
    "kueue.x-k8s.io": "kueue",
}


def wrong(manifest: dict[str, Any]) -> list[str]:
    """What a server would refuse in it; empty if nothing."""
    group = manifest["apiVersion"].rpartition("/")[0]
    project = next((name for end, name in _PROJECTS.items() if group.endswith(end)), None)
    checker = (
        _own(manifest["apiVersion"], manifest["kind"])
        if project is None
        else _custom(project, manifest["apiVersion"], manifest["kind"])
    )
    return [f"{error.json_path}: {error.message}" for error in checker.iter_errors(manifest)]


@cache
def _own(version: str, kind: str) -> jsonschema.Draft202012Validator:
    group, _, number = version.rpartition("/")
    name = f"apis__{group}__{number}" if group else f"api__{number}"
    folder = source("kubernetes", "k8s.io/kubernetes") / _OPENAPI
    document = json.loads((folder / f"{name}_openapi.json").read_text(encoding="utf-8"))
    schemas = {name: _strict(schema) for name, schema in document["components"]["schemas"].items()}
    meant = {"group": group, "version": number, "kind": kind}
    [found] = [
        name for name, schema in schemas.items() if meant in schema.get("x-kubernetes-group-version-kind", [])
    ]
    root = {"$ref": f"#/components/schemas/{found}", "components": {"schemas": schemas}}
    return jsonschema.Draft202012Validator(root)


@cache
def _custom(project: str, version: str, kind: str) -> jsonschema.Draft202012Validator:
    group, _, number = version.rpartition("/")
    for crd in crds(project):
        spec = crd["spec"]
        if (spec["group"], spec["names"]["kind"]) != (group, kind):
            continue
        for one in spec["versions"]:
            if one["name"] == number and one["served"]:
                schema = _strict(one["schema"]["openAPIV3Schema"])
                schema.get("properties", {}).pop("metadata", None)
                if "properties" in schema:
                    schema["properties"]["metadata"] = {"type": "object"}
                return jsonschema.Draft202012Validator(schema)
    raise LookupError(f"{project} has no {version} {kind}")


def _strict(schema: Any) -> Any:
    """A Kubernetes schema as JSON Schema that takes no field which it does not name."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {
        name: {key: _strict(one) for key, one in value.items()} if name == "properties" else _strict(value)
        for name, value in schema.items()
        if name not in {"default", "example", "enum"} or not isinstance(value, dict)
    }
    if made.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    elif made.get("nullable") and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    if (
        made.get("type") == "object"
        and "additionalProperties" not in made
        and not made.get("x-kubernetes-preserve-unknown-fields")
        and ("properties" in made or "x-kubernetes-group-version-kind" not in made)
    ):
        made["additionalProperties"] = False
    return made

"""``footplate schema``: the contract as JSON Schema, and the service's calls as OpenAPI.

The lab extension's types are generated from these files, and a test keeps the committed ones true.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from footplate_spec import FollowItem, Group, JobSpec, Node

__all__ = ["documents", "schema"]

_PREFIX = "/services/footplate"


def documents() -> dict[str, dict[str, Any]]:
    """Every document by its file's name."""
    from ..app import described
    from ..settings import Settings

    openapi = described(Settings(data=Path(), url=f"http://localhost{_PREFIX}/")).openapi()
    # Paths below the service's prefix, which every installation may choose.
    openapi["paths"] = {path.removeprefix(_PREFIX): calls for path, calls in openapi["paths"].items()}
    # Lines of a stream are in no call's answer as FastAPI sees it.
    line = FollowItem.model_json_schema(ref_template="#/components/schemas/{model}")
    openapi["components"]["schemas"] |= {**line.pop("$defs"), **openapi["components"]["schemas"]}
    openapi["components"]["schemas"]["FollowItem"] = line
    return {
        "job.schema.json": JobSpec.model_json_schema(by_alias=True),
        "group.schema.json": Group.model_json_schema(by_alias=True),
        "node.schema.json": Node.model_json_schema(by_alias=True),
        "openapi.json": openapi,
    }


def text_of(document: dict[str, Any]) -> str:
    """A document as it is written to a file."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


@click.command()
@click.argument("folder", default="docs", type=click.Path(file_okay=False, path_type=Path))
def schema(folder: Path) -> None:
    """Write the JSON Schemas and the OpenAPI document into FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in documents().items():
        (folder / name).write_text(text_of(document), encoding="utf-8")
        click.echo(folder / name)

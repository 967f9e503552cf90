"""What all verbs share: the client, JSON, and tables on the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click
from pydantic import BaseModel

from .. import session
from ..client import Client
from ..session import Table

__all__ = ["as_json", "client", "show", "show_json"]

_F = TypeVar("_F", bound=Callable[..., Any])

# A person at a terminal would rather be told than wait; a restarting service is back within this.
_PATIENCE = 6.0


def as_json(function: _F) -> _F:
    """Give a verb the option ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="JSON for programs.")(function)


def client() -> Client:
    """The client of this process, with the patience of a person at a terminal."""
    found = session.client()
    found.transport.patience = _PATIENCE
    return found


def show(table: Table, *, as_json: bool) -> None:
    """Print a table."""
    if as_json:
        show_json(table.json())
    else:
        click.echo(repr(table))


def show_json(value: Any) -> None:
    """Print one JSON document, on one line."""
    if isinstance(value, BaseModel):
        click.echo(value.model_dump_json(by_alias=True))
    else:
        click.echo(json.dumps(value, default=str))

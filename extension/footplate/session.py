"""The one client of this process, and what one asks it: lists, quotas, secrets, a job by its id."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from getpass import getpass
from html import escape
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from .client import Client
from .profile import Profile, find_profile

if TYPE_CHECKING:
    from footplate_spec import BudgetUse, Me, Node, QuotaUse

    from .handle import Job

__all__ = ["Secrets", "Table", "attach", "budgets", "client", "jobs", "me", "nodes", "quota", "secrets"]

_lock = threading.Lock()
_current: tuple[int, Profile, Client] | None = None


def client() -> Client:
    """The client of this process, a new one where the platform's address changed or the process forked.

    Raises
    ------
    NotConfiguredError
        If there is no platform to speak to.
    """
    global _current  # noqa: PLW0603
    profile = find_profile()
    with _lock:
        if _current is None or _current[:2] != (os.getpid(), profile):
            _current = (os.getpid(), profile, Client(profile))
        return _current[2]


def me() -> Me:
    """Who the platform takes you for."""
    return client().me


def attach(job: str) -> Job:
    """The handle of a job, from any kernel.

    Parameters
    ----------
    job
        Its id, ``digits-7k3f9m``.

    Raises
    ------
    NotFoundError
        If there is no such job, or one may not see it.
    """
    from .handle import Job

    here = client()
    return Job(here, here.job(job))


def jobs(
    state: str | None = None,
    group: str | None = None,
    owner: str | None = None,
    limit: int = 20,
    parent: str | None = None,
) -> Table:
    """Jobs that one may see, newest first, as a table that is also a sequence of handles."""
    from .handle import Job
    from .wording import job_rows

    here = client()
    found = here.jobs(state, group, owner, limit, parent)
    return Table([Job(here, summary) for summary in found], *job_rows(found), models=found)


def quota() -> Table:
    """What one's groups may use, use and wait for; with their budgets, which `budgets` gives as models."""
    from .wording import quota_rows

    here = client()
    found: list[QuotaUse] = here.quota()
    return Table(found, *quota_rows(found, here.budgets()), models=found)


def budgets() -> Table:
    """What one's groups may use over time, and used of it."""
    from .wording import quota_rows

    found: list[BudgetUse] = client().budgets()
    return Table(found, *quota_rows([], found), models=found)


def nodes() -> Table:
    """Machines, what they have and what is in use."""
    from .wording import node_rows

    found: list[Node] = client().nodes()
    return Table(found, *node_rows(found), models=found)


class Table(Sequence[Any]):
    """Things in order, shown as a table.

    Parameters
    ----------
    items
        The things.
    head, rows
        Their columns and cells as text.
    models
        The contract's models behind them, for `json`.
    """

    def __init__(
        self,
        items: Sequence[Any],
        head: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        models: Sequence[BaseModel],
    ) -> None:
        self._items, self.head, self.rows, self._models = items, head, rows, models

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def json(self) -> list[dict[str, Any]]:
        """The contract's models as plain values."""
        return [model.model_dump(mode="json") for model in self._models]

    def __repr__(self) -> str:
        if not self.rows:
            return "none"
        lines = [self.head, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.head))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )

    def _repr_html_(self) -> str:
        if not self.rows:
            return "<p>none</p>"
        head = "".join(f"<th scope='col'>{escape(cell)}</th>" for cell in self.head)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class Secrets:
    """Stored secrets by name. A value is written once and never read back."""

    def list(self) -> list[dict[str, Any]]:
        """Names, groups and when each was stored."""
        return client().secrets()

    def set(self, name: str, value: str | None = None, group: str | None = None) -> None:
        """Store one, for oneself or a group; a value that is not given is asked for."""
        if value is None:
            value = getpass(f"value of {name}: ")
        client().put_secret(name, value, group)

    def delete(self, name: str, group: str | None = None) -> None:
        """Remove one."""
        client().delete_secret(name, group)

    def __repr__(self) -> str:
        return "secrets: " + (", ".join(secret["name"] for secret in self.list()) or "none")


secrets = Secrets()

"""Quotas, machines, secrets."""

from __future__ import annotations

import ipaddress
import sys
from typing import Any, Literal

import click
from pydantic import BaseModel

from .. import session
from ..errors import WrongCallError
from ..quotas import with_budget, with_policy, with_priorities, with_quota
from ..session import Table
from ..wording import accuracy_sentence, node_rows
from .frame import as_json, client, show, show_json

__all__ = ["nodes", "quota", "secrets"]

_cluster_flag = click.option("--cluster", is_flag=True, help="It is a cluster, though a group has its name.")


@click.group(invoke_without_command=True)
@click.option("--eta", is_flag=True, help="How true the foretold start times were instead.")
@click.option("--budgets", is_flag=True, help="Budgets alone: what is used over time.")
@as_json
@click.pass_context
def quota(context: click.Context, as_json: bool, eta: bool, budgets: bool) -> None:
    """What your groups may use, use and wait for."""
    found = client()
    if eta and context.invoked_subcommand is None:
        accuracy = found.etas()
        show_json(accuracy.model_dump()) if as_json else click.echo(accuracy_sentence(accuracy))
    elif context.invoked_subcommand is None:
        show(session.budgets() if budgets else session.quota(), as_json=as_json)


@quota.command()
@click.option("--why", default="maintenance", show_default=True, help="What people are told.")
@_cluster_flag
@as_json
@click.argument("name", metavar="GROUP|CLUSTER")
def hold(name: str, why: str, cluster: bool, as_json: bool) -> None:
    """Let nothing of a group, or on a cluster, start for now; what runs goes on."""
    kind = _kind(name, cluster=cluster)
    client().hold(kind, name, why)
    show_json({"held": name, "kind": kind}) if as_json else click.echo(f"held {kind} {name}: {why}")


@quota.command("set")
@click.option("--cluster", default="local", show_default=True)
@click.option("--gpu", help="GPUs of its own; none: no limit.")
@click.option("--cpu", help="Cores of its own; none: no limit.")
@click.option("--memory", help="Memory of its own; none: no limit.")
@click.option("--borrow", multiple=True, metavar="RESOURCE=AMOUNT", help="The most it may use of others'.")
@click.option("--lend", multiple=True, metavar="RESOURCE=AMOUNT", help="The most that others may use of it.")
@as_json
@click.argument("group")
@click.argument("flavor")
def set_quota(group: str, flavor: str, as_json: bool, **given: Any) -> None:
    """Change what GROUP may use of FLAVOR, from now on. What is not named stays."""
    here = client()
    found, seen = here.group(group)
    changed = here.put_group(with_quota(found, flavor, **given), seen)
    if as_json:
        show_json(changed)
    else:
        click.echo(f"changed {group}; footplate quota shows what it uses")


@quota.command()
@click.option("--order", help="fifo or fair_share.")
@click.option("--backfill/--no-backfill", default=None, help="Whether any may pass one that waits for room.")
@_cluster_flag
@as_json
@click.argument("name", metavar="GROUP|CLUSTER")
def policy(name: str, order: str | None, backfill: bool | None, cluster: bool, as_json: bool) -> None:
    """Change how those of a group, or for a cluster, who wait are ordered. What is not named stays."""
    here = client()
    if _kind(name, cluster=cluster) == "cluster":
        before, seen = here.cluster_policy(name)
        changed: BaseModel = here.put_cluster_policy(name, with_policy(before, order, backfill), seen)
    else:
        found, seen = here.group(name)
        policy = with_policy(found.policy, order, backfill)
        changed = here.put_group(found.model_copy(update={"policy": policy}), seen)
    show_json(changed) if as_json else click.echo(f"changed {name}")


@quota.command()
@click.option("--reset", is_flag=True, help="Go back to those of footplate.yaml.")
@as_json
@click.argument("changes", nargs=-1, metavar="[NAME=NUMBER]...")
def priorities(changes: tuple[str, ...], reset: bool, as_json: bool) -> None:
    """Show the priorities that jobs may have, or change them: urgent=200, low=none."""
    here = client()
    if reset and changes:
        raise WrongCallError("--reset goes back to all of footplate.yaml's; name no changes with it")
    if reset:
        here.reset_priorities()
    found, seen = here.priorities()
    if changes:
        found = here.put_priorities(with_priorities(found, changes), seen)
    ordered = sorted(found.priorities.items(), key=lambda item: -item[1])
    show_json(found) if as_json else click.echo("\n".join(f"{name}  {number}" for name, number in ordered))


@quota.command()
@click.option("--gpu-hours", help="GPU-hours within each period; none: no limit.")
@click.option("--cost", help="Money within each period, at the platform's prices; none: no limit.")
@click.option("--period", type=click.Choice(["day", "week", "month", "year"]))
@as_json
@click.argument("group")
def budget(group: str, as_json: bool, **given: str | None) -> None:
    """Change what GROUP may use over time, from now on. What is not named stays."""
    here = client()
    found, seen = here.group(group)
    changed = here.put_group(with_budget(found, **given), seen)
    if as_json:
        show_json(changed)
    else:
        click.echo(f"changed {group}; footplate quota --budgets shows what it used")


@quota.command("reset")
@_cluster_flag
@as_json
@click.argument("name", metavar="GROUP|CLUSTER")
def reset(name: str, cluster: bool, as_json: bool) -> None:
    """Delete a group, or go back to what footplate.yaml says of it or of a cluster's policy."""
    if _kind(name, cluster=cluster) == "cluster":
        client().reset_cluster_policy(name)
    else:
        client().delete_group(name)
    show_json({"reset": name}) if as_json else click.echo(f"reset {name}")


@quota.command()
@_cluster_flag
@as_json
@click.argument("name", metavar="GROUP|CLUSTER")
def release(name: str, cluster: bool, as_json: bool) -> None:
    """Let what was held start again."""
    kind = _kind(name, cluster=cluster)
    client().release(kind, name)
    show_json({"released": name, "kind": kind}) if as_json else click.echo(f"released {kind} {name}")


def _kind(name: str, *, cluster: bool) -> Literal["group", "cluster"]:
    """What a name is: a cluster if there is one of that name and no group."""
    if cluster:
        return "cluster"
    clusters = {node.cluster for node in client().nodes()}
    groups = {use.group for use in client().quota()}
    return "cluster" if name in clusters - groups else "group"


@click.group(invoke_without_command=True)
@as_json
@click.pass_context
def nodes(context: click.Context, as_json: bool) -> None:
    """Machines, what they have and what is in use."""
    client()
    if context.invoked_subcommand is None:
        show(session.nodes(), as_json=as_json)


@nodes.command()
@click.option("--why", required=True, help="What people are told.")
@as_json
@click.argument("node")
def block(node: str, why: str, as_json: bool) -> None:
    """Keep everyone off NODE (name, cluster/name, address); what runs there goes on elsewhere."""
    if _is_address(node):
        client().block_address(node, why)
        show_json({"blocked": node}) if as_json else click.echo(f"blocked {node}: {why}")
        return
    found = client().block_node(*_place(node), why)
    show(Table([found], *node_rows([found]), models=[found]), as_json=as_json)


@nodes.command()
@click.option("--why", required=True, help="What people are told.")
@as_json
@click.argument("node")
def drain(node: str, why: str, as_json: bool) -> None:
    """Let nothing new start on NODE; what runs there goes on to its end."""
    found = client().drain_node(*_place(node), why)
    show(Table([found], *node_rows([found]), models=[found]), as_json=as_json)


@nodes.command()
@as_json
@click.argument("node")
def unblock(node: str, as_json: bool) -> None:
    """Let people use NODE (name, cluster/name, or address) again."""
    if _is_address(node):
        client().unblock_address(node)
        show_json({"unblocked": node}) if as_json else click.echo(f"unblocked {node}")
        return
    found = client().unblock_node(*_place(node))
    show(Table([found], *node_rows([found]), models=[found]), as_json=as_json)


def _is_address(node: str) -> bool:
    try:
        ipaddress.ip_address(node)
    except ValueError:
        return False
    return True


def _place(node: str) -> tuple[str, str]:
    """A node's cluster and name; without a cluster, the only one that has such a node."""
    cluster, slash, name = node.partition("/")
    if slash:
        return cluster, name
    found = [known.cluster for known in client().nodes() if known.name == node]
    if len(found) > 1:
        raise WrongCallError(f"several clusters have a node {node}; write {found[0]}/{node}")
    return (found[0] if found else "local"), node


@click.group(invoke_without_command=True)
@as_json
@click.pass_context
def secrets(context: click.Context, as_json: bool) -> None:
    """Names of stored secrets. Values are written once and never read back."""
    client()
    if context.invoked_subcommand is not None:
        return
    found = client().secrets()
    if as_json:
        show_json(found)
    else:
        click.echo(
            "\n".join(f"{s['name']}  ({s['group']})" if s.get("group") else s["name"] for s in found)
            or "none"
        )


@secrets.command("list")
@as_json
@click.pass_context
def list_(context: click.Context, as_json: bool) -> None:
    """Names of stored secrets."""
    assert context.parent is not None
    context.parent.invoked_subcommand = None
    context.invoke(secrets.callback, as_json=as_json)  # type: ignore[arg-type]


@secrets.command("set")
@click.option("--group", help="For all members of a group.")
@as_json
@click.argument("name")
def set_(name: str, group: str | None, as_json: bool) -> None:
    """Store a secret. The value is asked for, or read from standard input; never from the command line."""
    if sys.stdin.isatty():
        value = click.prompt(f"value of {name}", hide_input=True, confirmation_prompt=True)
    else:
        value = sys.stdin.read().removesuffix("\n")
    if not value:
        raise WrongCallError(
            f"no value for {name}: pipe it in, as in  pass show {name} | footplate secrets set {name}"
        )
    client().put_secret(name, value, group)
    show_json({"stored": name, "group": group}) if as_json else click.echo(f"stored {name}")


@secrets.command()
@click.option("--group", help="The group that it was stored for.")
@as_json
@click.argument("name")
def delete(name: str, group: str | None, as_json: bool) -> None:
    """Remove a secret."""
    client().delete_secret(name, group)
    show_json({"deleted": name, "group": group}) if as_json else click.echo(f"deleted {name}")

"""The service's calls (docs/protocol.md §1) as typed methods. Nothing is decided here."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, TypeAdapter, ValidationError

from footplate_spec import (
    BudgetUse,
    Cluster,
    EtaAccuracy,
    Event,
    FollowItem,
    Group,
    Hold,
    JobPage,
    JobResult,
    JobSpec,
    JobState,
    JobSummary,
    JobView,
    Me,
    MetricPoint,
    Node,
    Priorities,
    QueuePolicy,
    QuotaUse,
    Verdict,
    Why,
)

from .errors import RefusedError
from .following import Place, follow
from .profile import Profile, find_profile
from .transport import Transport
from .uploads import BlobStore

__all__ = ["Client"]

_Model = TypeVar("_Model", bound=BaseModel)


class Client:
    """One person at one service.

    Parameters
    ----------
    profile
        Where and who; unset: as `find_profile` finds it.
    patience
        Seconds for which a call is repeated while the service is away.
    """

    def __init__(self, profile: Profile | None = None, patience: float = 30.0) -> None:
        self.transport = Transport(profile or find_profile(), patience)
        self.blobs = BlobStore(self.transport)
        self._me: Me | None = None

    @property
    def me(self) -> Me:
        """Who the service takes the caller for; asked once."""
        if self._me is None:
            self._me = self._get(Me, "me")
        return self._me

    def submit(self, spec: JobSpec, key: str | None = None) -> JobView:
        """Queue a job. The same key is the same job, however often it is sent."""
        answer = self.transport.call(
            "POST",
            "jobs",
            content=spec.model_dump_json(by_alias=True, exclude_unset=True).encode(),
            headers={
                "Idempotency-Key": key or secrets.token_urlsafe(18),
                "Content-Type": "application/json",
            },
        )
        return _read(JobView, answer.content)

    def jobs(
        self,
        state: str | None = None,
        group: str | None = None,
        owner: str | None = None,
        limit: int = 20,
        parent: str | None = None,
    ) -> list[JobSummary]:
        """Jobs that one may see, newest first; an array is one, its runs are those with it as ``parent``."""
        found: list[JobSummary] = []
        before: str | None = None
        while len(found) < limit:
            answer = self.transport.call(
                "GET",
                "jobs",
                params={
                    "state": state,
                    "group": group,
                    "owner": owner,
                    "parent": parent,
                    "limit": min(limit - len(found), 500),
                    "before": before,
                },
            )
            page = _read(JobPage, answer.content)
            found += page.items
            before = page.next
            if before is None or not page.items:
                break
        return found

    def job(self, job: str, patience: float | None = None) -> JobView:
        """Everything about one job."""
        return self._get(JobView, f"jobs/{_segment(job)}", patience)

    def why(self, job: str) -> Why:
        """Why it waits, runs as it does, or ended as it did."""
        return self._get(Why, f"jobs/{_segment(job)}/why")

    def check(self, spec: JobSpec) -> Verdict:
        """What would become of a job; nothing is queued or stored."""
        content = spec.model_dump_json(by_alias=True, exclude_unset=True).encode()
        headers = {"Content-Type": "application/json"}
        return _read(Verdict, self.transport.call("POST", "check", content=content, headers=headers).content)

    def result(self, job: str) -> JobResult:
        """What the last attempt left behind."""
        return self._get(JobResult, f"jobs/{_segment(job)}/result")

    def events(self, job: str) -> list[Event]:
        """A job's timeline."""
        answer = self.transport.call("GET", f"jobs/{_segment(job)}/events")
        return TypeAdapter(list[Event]).validate_json(answer.content)

    def edit(self, job: str, changes: dict[str, Any]) -> JobView:
        """Change a queued or suspended job, or the time limit and priority of a running one."""
        answer = self.transport.call("PATCH", f"jobs/{_segment(job)}", json=changes)
        return _read(JobView, answer.content)

    def cancel(self, job: str) -> JobView:
        """Stop it: checkpoint signal, grace, end. Stopping it twice is stopping it."""
        try:
            return self._post_job(job, "cancel", repeat=True)
        except RefusedError as refused:
            if refused.status != 409:
                raise
            view = self.job(job)
            if not view.stopping and view.state != JobState.CANCELLED:
                raise
            return view

    def suspend(self, job: str) -> JobView:
        """Take it off its machines, or out of the line, until `resume`."""
        return self._post_job(job, "suspend")

    def resume(self, job: str) -> JobView:
        """Put a suspended job back in line."""
        return self._post_job(job, "resume")

    def delete(self, job: str) -> None:
        """Remove a finished job, its logs and what only it refers to."""
        self.transport.call("DELETE", f"jobs/{_segment(job)}", repeat=False)

    def follow(
        self,
        job: str,
        place: Place | None = None,
        *,
        on_away: Callable[[], None] | None = None,
        seconds: float | None = None,
    ) -> Iterator[FollowItem]:
        """A job as it happens; see `footplate.following.follow`."""
        return follow(self.transport, _segment(job), place, on_away=on_away, seconds=seconds)

    def log(
        self,
        job: str,
        role: str,
        replica: int,
        *,
        attempt: int | None = None,
        execution: int | None = None,
        tail: int | None = None,
    ) -> tuple[bytes, str | None]:
        """A replica's output, or its last ``tail`` bytes, and the gap ``a-b`` where some were dropped."""
        answer = self.transport.call(
            "GET",
            f"jobs/{_segment(job)}/logs/{_segment(role)}/{replica}",
            params={"attempt": attempt, "execution": execution},
            headers={"Range": f"bytes=-{tail}"} if tail else {},
            accept=frozenset({416}),
        )
        if answer.status_code == 416:
            return b"", None
        return answer.content, answer.headers.get("Footplate-Log-Gap")

    def metrics(self, job: str) -> list[MetricPoint]:
        """All points that a job reported."""
        points: list[MetricPoint] = []
        after = 0
        while True:
            answer = self.transport.call("GET", f"jobs/{_segment(job)}/metrics", params={"after": after})
            page = answer.json()
            points += TypeAdapter(list[MetricPoint]).validate_python(page["points"])
            if not page["points"] or page["next"] <= after:
                return points
            after = page["next"]

    def quota(self) -> list[QuotaUse]:
        """What one's groups may use, use and wait for."""
        return TypeAdapter(list[QuotaUse]).validate_json(self.transport.call("GET", "quota").content)

    def budgets(self) -> list[BudgetUse]:
        """What one's groups may use over time, and used of it; a service of before has none."""
        answer = self.transport.call("GET", "budgets", accept=frozenset({404}))
        if answer.status_code == 404:
            return []
        return TypeAdapter(list[BudgetUse]).validate_json(answer.content)

    def etas(self) -> EtaAccuracy:
        """What came true of the start times that were foretold."""
        return _read(EtaAccuracy, self.transport.call("GET", "etas").content)

    def nodes(self) -> list[Node]:
        """Machines, what they have and what is in use."""
        return TypeAdapter(list[Node]).validate_json(self.transport.call("GET", "nodes").content)

    def block_node(self, cluster: str, name: str, why: str) -> Node:
        """Keep everyone off a machine; what runs there is evicted."""
        path = f"nodes/{_segment(cluster)}/{_segment(name)}/block"
        return _read(Node, self.transport.call("POST", path, json={"why": why}).content)

    def unblock_node(self, cluster: str, name: str) -> Node:
        """Let people use a machine again."""
        path = f"nodes/{_segment(cluster)}/{_segment(name)}/unblock"
        return _read(Node, self.transport.call("POST", path).content)

    def block_address(self, address: str, why: str) -> None:
        """Keep everyone off the machines with an address; what runs there is evicted."""
        self.transport.call("PUT", f"addresses/{_segment(address)}", json={"why": why})

    def unblock_address(self, address: str) -> None:
        """Let people use the machines with an address again."""
        self.transport.call("DELETE", f"addresses/{_segment(address)}", repeat=False)

    def drain_node(self, cluster: str, name: str, why: str) -> Node:
        """Let nothing new start on a machine; what runs there goes on to its end."""
        path = f"nodes/{_segment(cluster)}/{_segment(name)}/drain"
        return _read(Node, self.transport.call("POST", path, json={"why": why}).content)

    def group(self, name: str) -> tuple[Group, str | None]:
        """A group, and the mark of what it is now; None where nothing is set of it."""
        answer = self.transport.call("GET", _group(name))
        return _read(Group, answer.content), answer.headers.get("ETag")

    def put_group(self, group: Group, seen: str | None) -> Group:
        """Change a group for good; refused if it is not what ``seen`` marks any more."""
        answer = self.transport.call(
            "PUT",
            _group(group.name),
            json=group.model_dump(mode="json", exclude_defaults=True),
            headers={"If-Match": seen} if seen else {},
        )
        return _read(Group, answer.content)

    def priorities(self) -> tuple[Priorities, str | None]:
        """The platform's priorities, and the mark of what they are now."""
        answer = self.transport.call("GET", "priorities")
        return _read(Priorities, answer.content), answer.headers.get("ETag")

    def put_priorities(self, changed: Priorities, seen: str | None) -> Priorities:
        """Change them for good; refused if they are not what ``seen`` marks any more."""
        body, headers = changed.model_dump(mode="json"), {"If-Match": seen or ""}
        return _read(Priorities, self.transport.call("PUT", "priorities", json=body, headers=headers).content)

    def reset_priorities(self) -> None:
        """Go back to those of footplate.yaml."""
        self.transport.call("DELETE", "priorities", repeat=False)

    def clusters(self) -> list[Cluster]:
        """All clusters."""
        return TypeAdapter(list[Cluster]).validate_json(self.transport.call("GET", "clusters").content)

    def cluster_policy(self, name: str) -> tuple[QueuePolicy, str | None]:
        """How those who wait for a cluster are ordered, and the mark of what that is now."""
        answer = self.transport.call("GET", f"clusters/{_segment(name)}/policy")
        return _read(QueuePolicy, answer.content), answer.headers.get("ETag")

    def put_cluster_policy(self, name: str, changed: QueuePolicy, seen: str | None) -> QueuePolicy:
        """Change it for good; refused if it is not what ``seen`` marks any more."""
        body, headers = changed.model_dump(mode="json"), {"If-Match": seen or ""}
        path = f"clusters/{_segment(name)}/policy"
        return _read(QueuePolicy, self.transport.call("PUT", path, json=body, headers=headers).content)

    def reset_cluster_policy(self, name: str) -> None:
        """Go back to what footplate.yaml says of it."""
        self.transport.call("DELETE", f"clusters/{_segment(name)}/policy", repeat=False)

    def delete_group(self, name: str) -> None:
        """Delete a group, or go back to what footplate.yaml says of it."""
        self.transport.call("DELETE", _group(name), repeat=False)

    def holds(self) -> list[Hold]:
        """Groups and clusters where nothing starts for now."""
        return TypeAdapter(list[Hold]).validate_json(self.transport.call("GET", "holds").content)

    def hold(self, kind: Literal["group", "cluster"], name: str, why: str) -> None:
        """Let nothing of a group, or on a cluster, start; what runs goes on."""
        self.transport.call("PUT", _hold(kind, name), json={"why": why})

    def release(self, kind: Literal["group", "cluster"], name: str) -> None:
        """Let it start again."""
        self.transport.call("DELETE", _hold(kind, name), repeat=False)

    def secrets(self) -> list[dict[str, Any]]:
        """Names of stored secrets; values are never read back."""
        found: list[dict[str, Any]] = self.transport.call("GET", "secrets").json()
        return found

    def put_secret(self, name: str, value: str, group: str | None = None) -> None:
        """Store a secret for oneself or for a group."""
        body = {"value": value, **({"group": group} if group else {})}
        self.transport.call("PUT", f"secrets/{_segment(name)}", json=body)

    def delete_secret(self, name: str, group: str | None = None) -> None:
        """Remove a secret."""
        self.transport.call("DELETE", f"secrets/{_segment(name)}", params={"group": group}, repeat=False)

    def close(self) -> None:
        """Close the connection."""
        self.transport.close()

    def _get(self, model: type[_Model], path: str, patience: float | None = None) -> _Model:
        return _read(model, self.transport.call("GET", path, patience=patience).content)

    def _post_job(self, job: str, verb: str, *, repeat: bool = False) -> JobView:
        return _read(
            JobView, self.transport.call("POST", f"jobs/{_segment(job)}/{verb}", repeat=repeat).content
        )


def _group(name: str) -> str:
    return "groups/" + "/".join(_segment(part) for part in name.split("/"))


def _hold(kind: Literal["group", "cluster"], name: str) -> str:
    parts = "/".join(_segment(part) for part in name.split("/"))
    return f"holds/{kind}s/{parts}"


def _segment(text: str) -> str:
    """A name as one part of a path: what a person types must not become another call."""
    return quote(text, safe="") if text not in {"", ".", ".."} else quote(f"?{text}", safe="")


def _read(model: type[_Model], content: bytes) -> _Model:
    try:
        return model.model_validate_json(content)
    except ValidationError:
        raise RefusedError(
            "the service's answer is not one that this version understands; upgrade footplate here",
            "version",
        ) from None

"""Which pods have surely ended: one that is not seen any more may live on, on a node that does not speak.

A kubelet that speaks to the API server ends what it finds deleted there within seconds. One that does not
may let it run on, and nobody can tell, unless its own agent was bound to end it (``recovery.fence_after``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from .api import ApiError, ClusterApi, Gone

__all__ = ["LOOK_AGAIN", "Ends"]

LOOK_AGAIN = 5.0  # seconds after which a node may have spoken anew
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_KUBELET_ENDS = timedelta(seconds=15)  # how long a kubelet takes to end what it finds deleted
_REMEMBERED = 20_000


class Ends:
    """Of one cluster.

    Parameters
    ----------
    known
        Whether there is a node of that name.
    """

    def __init__(self, api: ClusterApi, known: Callable[[str], bool]) -> None:
        self._api, self._known = api, known
        self._certain: dict[str, None] = {}  # in the order in which they became so
        self._missed: dict[str, datetime] = {}  # not seen any more, since when
        self._spoke: dict[str, tuple[float, datetime | None]] = {}  # of nodes: asked when, spoke when

    def note(self, uid: str) -> None:
        """A pod has surely ended."""
        self._missed.pop(uid, None)
        self._certain[uid] = None
        while len(self._certain) > _REMEMBERED:
            self._certain.pop(next(iter(self._certain)))

    def __contains__(self, uid: str) -> bool:
        return uid in self._certain

    async def certain(self, uid: str, node: str) -> bool:
        """Whether a pod that is not there any more has ended: its node spoke long enough after that."""
        if uid in self._certain:
            return True
        missed = self._missed.setdefault(uid, datetime.now(UTC))
        spoke = await self._spoke_at(node)
        if spoke is not None and spoke > missed + _KUBELET_ENDS:
            self.note(uid)
        return uid in self._certain

    async def _spoke_at(self, node: str) -> datetime | None:
        """When a node spoke last; of one that was removed: now, since who removed it knows that it is off."""
        asked, spoke = self._spoke.get(node, (float("-inf"), None))
        if time.monotonic() - asked < LOOK_AGAIN:
            return spoke
        try:
            lease = await self._api.get(f"{_LEASES}/{node}")
        except (ApiError, Gone) as error:
            removed = isinstance(error, ApiError) and error.status == 404 and not self._known(node)
            spoke = datetime.max.replace(tzinfo=UTC) if removed else None
        else:
            spoke = datetime.fromisoformat(lease["spec"]["renewTime"])
        self._spoke = {name: seen for name, seen in self._spoke.items() if self._known(name)}
        self._spoke[node] = time.monotonic(), spoke
        return spoke

"""A copy of a list that the server keeps, held in step by a watch: nothing is ever polled.

After a break the list is read anew and compared, so what happened meanwhile is told as if it had been seen.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from .api import ApiError, ClusterApi, Gone
from .manifest import Manifest

__all__ = ["Informer"]

log = logging.getLogger(__name__)
_PAUSE_FIRST, _PAUSE_LAST = 0.2, 30.0

Told = Callable[[Manifest | None, Manifest | None], None]


class Informer:
    """One kind, as far as a selector goes.

    Parameters
    ----------
    told
        Called with an object before and after each change; None where it was not, or is not any more.
    keep
        What is kept of an object; unset: all of it.
    """

    def __init__(
        self,
        api: ClusterApi,
        path: str,
        told: Told,
        selector: str = "",
        *,
        fields: str = "",
        keep: Callable[[Manifest], Manifest] = lambda item: item,
    ) -> None:
        self._api, self._path, self._told, self._keep = api, path, told, keep
        self._query = {"labelSelector": selector} if selector else {}
        self._query |= {"fieldSelector": fields} if fields else {}
        self._version = ""
        self.items: dict[str, Manifest] = {}  # by uid
        self.trouble: str | None = None  # why the copy is not in step, if so

    async def sync(self) -> None:
        """Read the list anew, and tell the differences.

        Raises
        ------
        ApiError
            If the server does not give it.
        """
        found, self._version = await self._api.list(self._path, keep=self._keep, **self._query)
        now = {item["metadata"]["uid"]: item for item in found}
        before, self.items = self.items, now
        for uid in before.keys() - now.keys():
            self._told(before[uid], None)
        for uid, item in now.items():
            self._tell(before.get(uid), item)
        self.trouble = None

    async def run(self) -> None:
        """Follow, for ever. `sync` was called."""
        pause = _PAUSE_FIRST
        while True:
            try:
                if not self._version:
                    await self.sync()
                await self._follow()
                pause = _PAUSE_FIRST
            except Gone:
                self._version = ""
            except ApiError as error:
                self.trouble = str(error)
                log.warning("%s: %s; tried again", self._path, error)
                if error.status not in {0, 429, 500, 503, 504}:
                    self._version = ""
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret
                pause = min(pause * 2, _PAUSE_LAST)

    async def _follow(self) -> None:
        async for kind, item in self._api.watch(self._path, self._version, **self._query):
            self._version = item["metadata"]["resourceVersion"]
            self.trouble = None
            if kind == "BOOKMARK":
                continue
            kept = self._keep(item)
            uid = kept["metadata"]["uid"]
            if kind == "DELETED":
                self._told(self.items.pop(uid, kept), None)
            else:
                before, self.items[uid] = self.items.get(uid), kept
                self._tell(before, kept)

    def _tell(self, before: Manifest | None, after: Manifest) -> None:
        if before is None or before["metadata"]["resourceVersion"] != after["metadata"]["resourceVersion"]:
            self._told(before, after)

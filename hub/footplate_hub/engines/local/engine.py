"""The local engine: replicas are keepers on this machine, which outlive the service.

It holds nothing that it could not find again: folders say what was started, locks say what lives.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path

from footplate_hub.launcher.cgroups import Cgroups, find
from footplate_hub.settings import ClusterSettings, Settings
from footplate_hub.tokens import ReplicaId, ReplicaTokens
from footplate_spec import CauseCode, Node

from ..base import Attempt, EngineError, Observation, PlacedReplica
from .forkserver import Refusal
from .nodes import LocalNode, find_devices, local_nodes
from .people import Home, Launched, OwnUser, People
from .start import compose, folder_of

__all__ = ["LocalEngine"]

log = logging.getLogger(__name__)
_AT_ONCE = 64  # starts that wait for answers at one time


class LocalEngine:
    """One machine as a cluster.

    Parameters
    ----------
    tokens
        Mints what replicas prove themselves with.
    """

    def __init__(self, settings: Settings, cluster: ClusterSettings, tokens: ReplicaTokens) -> None:
        self._settings = settings
        self._cluster = cluster
        self._tokens = tokens
        self._seen: asyncio.Queue[Observation] = asyncio.Queue()
        self._nodes: dict[str, LocalNode] = {}
        self._alive: dict[str, bool] = {}
        self._ends: dict[str, asyncio.Event] = {}
        self._pinned: dict[str, tuple[int, ...]] = {}
        self._cpus = sorted(os.sched_getaffinity(0))
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._cgroups: Cgroups | None = None
        self._people: People

    async def start(self) -> None:
        """Look at the machine, and connect.

        Raises
        ------
        EngineError
            If the configuration does not fit the machine.
        """
        if self._settings.launcher is None:
            mark = hashlib.sha256(os.fsencode(self._settings.data)).hexdigest()[:8]
            self._cgroups = find(f"footplate-{mark}")
            self._people = OwnUser(self._settings, self._cgroups, self._saw)
            advisory = self._cgroups is None
        else:
            self._people = Launched(self._settings, self._saw)
            advisory = False
        offered = local_nodes(self._cluster, find_devices(), advisory=advisory)
        self._nodes = {local.node.name: local for local in offered}
        await self._people.start()

    async def stop(self) -> None:
        """Let go; keepers run on."""
        await self._people.stop()
        if self._cgroups is not None:
            self._cgroups.tidy()

    async def nodes(self) -> Sequence[Node]:
        """The machine, or the parts that it was declared to be."""
        return [local.node for local in self._nodes.values()]

    async def gone(self, holder: str, node: str) -> bool:
        """Never asked: keepers are not made again behind the service's back."""
        return False

    def fence(self, holder: str) -> None:
        """As in `gone`: whoever shares a machine with its keepers knows whether they live."""

    async def observe(self) -> AsyncIterator[Observation]:
        """Keepers that are there, then each that ends."""
        while True:
            yield await self._seen.get()

    async def apply(self, attempt: Attempt) -> None:
        """Have a keeper for each replica; one that lives already is left alone."""
        home = await self._people.home(attempt.owner)
        checkpoint = home.checkpoints / attempt.job
        if self._settings.launcher is None:
            try:
                checkpoint.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise _disk_error("The checkpoint folder cannot be made", error) from error
        results = await asyncio.gather(
            *(self._start(attempt, replica, home, checkpoint) for replica in attempt.replicas),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def delete(self, attempt: Attempt, *, patience: float = 10.0) -> None:
        """Wait for its keepers, end those that do not end, and remove the folders."""
        home = await self._people.home(attempt.owner)
        await asyncio.gather(
            *(self._remove(attempt, replica, home, patience) for replica in attempt.replicas)
        )

    async def kept(self) -> Collection[str]:
        """Those whose checkpoints this user can see; people's own are theirs alone."""
        if self._settings.launcher is not None:
            return ()
        return await asyncio.to_thread(os.listdir, (await self._people.home("")).checkpoints)

    async def forget(self, job: str, owner: str) -> None:
        """Remove its checkpoints, as the user who wrote them."""
        home = await self._people.home(owner)
        folder = await asyncio.to_thread(home.checkpoints.resolve)
        try:
            await home.server.ask("forget", path=str(folder / job))
        except Refusal as error:
            log.warning("the checkpoints of %s stay: %s", job, error)

    async def _start(self, attempt: Attempt, replica: PlacedReplica, home: Home, checkpoint: Path) -> None:
        local = self._nodes.get(replica.node)
        if local is None:
            raise EngineError(f"Node {replica.node} is not in the configuration any more.")
        [role] = [role for role in attempt.spec.roles if role.name == replica.role]
        folder = folder_of(attempt.id, replica.role, replica.index)
        cpu, memory = role.resources.cpu, role.resources.memory
        try:
            cgroups = await self._people.confine(attempt.owner, _group_name(folder), cpu, memory)
        except OSError as error:
            log.warning("%s runs without a control group: %s", folder, error)
            cgroups = None
        start = compose(
            self._settings,
            attempt,
            replica,
            token=self._tokens.mint(ReplicaId(attempt.id, replica.role, replica.index)),
            node=local.node,
            devices=[local.devices[number] for number in replica.gpus if number < len(local.devices)],
            cpus=self._pin(folder, cpu) if cgroups is None else (),
            cgroups=cgroups,
            checkpoint=checkpoint,
            cache=home.cache,
        )
        self._ends.setdefault(folder, asyncio.Event()).clear()
        self._alive[folder] = True
        async with self._room:
            try:
                await home.server.ask("start", dir=folder, start=start)
            except Refusal as error:
                self._alive[folder] = False
                full = os.strerror(errno.ENOSPC) in str(error)
                raise EngineError(
                    f"The replica's folder cannot be made: {error}.",
                    code=CauseCode.DISK_FULL if full else CauseCode.PLATFORM_FAULT,
                ) from error

    async def _remove(self, attempt: Attempt, replica: PlacedReplica, home: Home, patience: float) -> None:
        folder = folder_of(attempt.id, replica.role, replica.index)
        if self._alive.get(folder, False) and folder in self._ends:
            try:
                await asyncio.wait_for(self._ends[folder].wait(), patience)
            except TimeoutError:
                log.info("%s has not ended by itself; it is killed", folder)
        try:
            await home.server.ask("remove", dir=folder)
        except Refusal:
            await home.server.ask("kill", dir=folder)
            await home.server.ask("remove", dir=folder)
        await self._people.release(attempt.owner, _group_name(folder))
        for known in (self._alive, self._ends, self._pinned):
            known.pop(folder, None)

    def _saw(self, folder: str, alive: bool) -> None:
        self._alive[folder] = alive
        if not alive and folder in self._ends:
            self._ends[folder].set()
        attempt, _, replica = folder.partition("/")
        role, _, index = replica.rpartition("-")
        self._seen.put_nowait(Observation(attempt, role, int(index), alive))

    def _pin(self, folder: str, cpu: int) -> tuple[int, ...]:
        """The CPUs that the fewest replicas were given; all of them where a replica needs as many."""
        count = -(-cpu // 1000)
        if count >= len(self._cpus):
            return ()
        if folder not in self._pinned:
            load = Counter(cpu for pinned in self._pinned.values() for cpu in pinned)
            self._pinned[folder] = tuple(sorted(sorted(self._cpus, key=lambda cpu: load[cpu])[:count]))
        return self._pinned[folder]


def _group_name(folder: str) -> str:
    return folder.replace("/", ".")


def _disk_error(what: str, error: OSError) -> EngineError:
    code = CauseCode.DISK_FULL if error.errno == errno.ENOSPC else CauseCode.PLATFORM_FAULT
    return EngineError(f"{what}: {error.strerror}.", code=code)

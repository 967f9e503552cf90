"""Forks keepers from a process that has everything imported: 3 ms instead of 85.

One a user, on a Unix socket in a folder of the user's own; only that user, root and those named on the
command line are answered. It may be killed at any time: keepers do not depend on it, and the next one
finds them by their locks. It never starts a thread, since it forks.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import os
import re
import selectors
import shutil
import signal
import socket
import struct
import sys
import time
import traceback
from typing import Any, Callable, Dict, List, NoReturn, Optional, Set

from . import keeper, processes
from .channel import Channel, ChannelClosed
from .folder import ReplicaFolder, jot, parse_directory, write_atomic

__all__ = ["ForkServer", "main"]

_IDLE = 10.0
_LOOK_EVERY = 1.0
_PIDFD_OPEN = 434
_libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: Optional[List[str]] = None) -> int:
    """Run a fork server; see ``--help``."""
    parser = argparse.ArgumentParser("footplate_agent.forkserver", description=__doc__)
    parser.add_argument("--socket", required=True, help="path of the Unix socket to listen on")
    parser.add_argument("--root", required=True, help="folder of the replicas' folders")
    parser.add_argument("--allow-uid", type=int, action="append", default=[], help="another user to answer")
    options = parser.parse_args(arguments)
    ForkServer(options.socket, options.root, {os.getuid(), 0, *options.allow_uid}).serve()
    return 0


def _warm() -> None:
    """Import what every agent needs, once, and keep the garbage collector from touching it."""
    from . import agent

    agent.warm()
    gc.collect()
    gc.freeze()


_KEPT = re.compile(r"/(?:[^\0]*/)?checkpoints/[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?")


class ForkServer:
    """Starts, lists, kills and removes replicas below one folder.

    Parameters
    ----------
    path
        Of the socket; its folder is made 0700 where it is not there.
    root
        ``<root>/<attempt>/<role>-<index>`` are the replicas' folders.
    uids
        Users whose connections are answered.
    """

    def __init__(self, path: str, root: str, uids: Set[int]) -> None:
        os.umask(0o077)
        self._path = os.path.abspath(path)
        self._root = os.path.realpath(root)
        self._uids = uids
        self._selector = selectors.DefaultSelector()
        self._clients: Set[Channel] = set()
        self._keepers: Dict[str, int] = {}  # folder -> pid of a living keeper
        self._waiting: Dict[int, Callable[[int], None]] = {}  # pid of a child -> what its end means
        self._idle_since = time.monotonic()
        self._look_at = 0.0
        os.makedirs(self._root, mode=0o700, exist_ok=True)

    def serve(self) -> None:
        """Answer until nobody is connected for ten seconds, or somebody says ``end``."""
        self._listener = self._bind()
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._woken, selectors.EVENT_READ, self._woke)
        self._serving = True
        _warm()
        try:
            while self._serving and (self._clients or time.monotonic() < self._idle_since + _IDLE):
                for key, events in self._selector.select(_LOOK_EVERY):
                    key.data(events)
                if time.monotonic() >= self._look_at:
                    self._look_at = time.monotonic() + _LOOK_EVERY
                    self._look()
        finally:
            self._unlink_own()

    def _bind(self) -> socket.socket:
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        fresh = f"{self._path}.{os.getpid()}"
        listener.bind(fresh)
        os.chmod(fresh, 0o600)
        listener.listen(64)
        self._inode = os.stat(fresh).st_ino
        os.rename(fresh, self._path)  # takes the place of a dead one's, whole
        listener.setblocking(False)
        return listener

    def _unlink_own(self) -> None:
        try:
            if os.stat(self._path).st_ino == self._inode:
                os.unlink(self._path)
        except FileNotFoundError:
            pass

    def _accept(self, _: int) -> None:
        connection, _ = self._listener.accept()
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", credentials)[1] not in self._uids:
            connection.close()
            return
        client = Channel(connection)
        self._clients.add(client)
        self._selector.register(connection, selectors.EVENT_READ, self._talker(client))

    def _talk(self, client: Channel, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE and client.flush():
                self._selector.modify(client.connection, selectors.EVENT_READ, self._talker(client))
            messages = client.receive() if events & selectors.EVENT_READ else []
        except (ChannelClosed, ValueError):
            self._drop(client)
            return
        for message in messages:
            self._answer(client, message)

    def _talker(self, client: Channel) -> Callable[[int], None]:
        return lambda events: self._talk(client, events)

    def _drop(self, client: Channel) -> None:
        if client in self._clients:
            self._clients.discard(client)
            self._selector.unregister(client.connection)
            client.close()
            self._idle_since = time.monotonic()

    def _send(self, client: Channel, message: Dict[str, Any]) -> None:
        if client not in self._clients:
            return  # it hung up before its answer was there
        try:
            if not client.post(message):
                both = selectors.EVENT_READ | selectors.EVENT_WRITE
                self._selector.modify(client.connection, both, self._talker(client))
        except ChannelClosed:
            self._drop(client)

    def _answer(self, client: Channel, message: Dict[str, Any]) -> None:
        number, order = message.get("id"), message.get("do")
        try:
            if order == "start":
                pid = self._start(parse_directory(message.get("dir")), message.get("start"))
                answer: Dict[str, Any] = {"pid": pid}
            elif order == "list":
                answer = {"replicas": self._list()}
            elif order in ("kill", "remove"):
                name = parse_directory(message.get("dir"))
                self._apart(
                    client, number, _kill if order == "kill" else _remove, os.path.join(self._root, name)
                )
                return
            elif order == "forget":
                self._apart(client, number, _forget, _parse_kept(message.get("path")))
                return
            elif order == "end":
                self._serving = False
                answer = {}
            else:
                raise ValueError(f"{order!r} is not something that a fork server does")
        except (OSError, ValueError) as error:
            self._send(client, {"id": number, "ok": False, "error": str(error)})
        else:
            self._send(client, {"id": number, "ok": True, **answer})

    # Starting

    def _start(self, name: str, start: Optional[Dict[str, Any]]) -> int:
        path = os.path.join(self._root, name)
        if start is not None:
            os.makedirs(path, mode=0o700, exist_ok=True)
        if os.path.realpath(path) != path:
            raise ValueError(f"{name!r} is reached through a link")
        file = os.path.join(path, "start.json")
        if start is not None:
            write_atomic(file, json.dumps(start).encode(), sync=False)  # the keeper syncs it
        elif not os.path.exists(file):
            raise ValueError(f"{name!r} has no start.json; send it")
        self._reap()
        self._look()
        if name in self._keepers:
            return self._keepers[name]
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_keeper(path, parent)
        self._keepers[name] = pid
        self._waiting[pid] = lambda _: self._ended(name)
        return pid

    def _become_keeper(self, path: str, parent: int) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            os.setsid()
            # What this child inherited belongs to the fork server; a keeper talks to nobody but its agent.
            os.closerange(3, max(int(name) for name in os.listdir("/proc/self/fd")) + 1)
            code = keeper.keep(path)
        except BaseException:  # noqa: BLE001 - a child of a fork must not go on as its parent
            jot(traceback.format_exc())
        finally:
            os._exit(code)

    # Watching

    def _woke(self, _: int) -> None:
        self._woken.recv(4096)
        self._reap()

    def _reap(self) -> None:
        for pid, status in processes.reap():
            ended = self._waiting.pop(pid, None)
            if ended is not None:
                ended(status)

    def _ended(self, name: str) -> None:
        self._keepers.pop(name, None)
        for client in list(self._clients):
            self._send(client, {"event": "ended", "dir": name})

    def _look(self) -> None:
        """See to keepers that an earlier fork server forked: they are nobody's children here."""
        for name, pid in list(self._keepers.items()):
            if pid not in self._waiting and not ReplicaFolder(os.path.join(self._root, name)).locked():
                self._ended(name)

    def _list(self) -> List[Dict[str, Any]]:
        replicas = []
        for attempt in sorted(os.listdir(self._root)):
            folder = os.path.join(self._root, attempt)
            for replica in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
                name = f"{attempt}/{replica}"
                try:
                    parse_directory(name)
                except ValueError:
                    continue
                replicas.append(self._describe(name))
        return replicas

    def _describe(self, name: str) -> Dict[str, Any]:
        path = os.path.join(self._root, name)
        alive = name in self._keepers or ReplicaFolder(path).locked()
        pid = self._keepers.get(name) or _keeper_pid(path)
        if alive and name not in self._keepers:
            self._keepers[name] = pid or 0
        return {"dir": name, "alive": alive, "pid": pid}

    # Ending: slow enough to be done apart

    def _apart(self, client: Channel, number: object, work: Callable[[str], None], path: str) -> None:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                work(path)
            except BaseException as error:  # noqa: BLE001 - the parent tells it to whoever asked
                os.write(writer, str(error).encode()[:4096])
            finally:
                os._exit(0)
        os.close(writer)

        def answer(status: int) -> None:
            with os.fdopen(reader, "rb") as pipe:
                problem = pipe.read().decode()
            if status != 0 and not problem:
                problem = "it was killed; ask again"
            self._send(
                client,
                {"id": number, "ok": False, "error": problem} if problem else {"id": number, "ok": True},
            )

        self._waiting[pid] = answer


def _keeper_identity(path: str) -> Optional[processes.Identity]:
    """The keeper that ``keeper.json`` names, if it is that very process and of this boot."""
    try:
        with open(os.path.join(path, "keeper.json"), encoding="utf-8") as file:
            noted = json.load(file)
    except (OSError, ValueError):
        return None
    living = processes.identity(int(noted["pid"]))
    same = living is not None and living.start_time == noted["start_time"]
    return living if same and noted["boot_id"] == processes.boot_id() else None


def _keeper_pid(path: str) -> Optional[int]:
    found = _keeper_identity(path)
    return None if found is None else found.pid


def _kill(path: str) -> None:
    folder = ReplicaFolder(path)
    deadline = time.monotonic() + 10.0
    while True:
        found = _keeper_identity(path)
        if found is not None:
            # Its tree first: some of it may carry no mark, and without its keeper nobody would find it.
            tree = processes.descendants(found.pid)
            processes.kill([found.pid])
            processes.kill(tree)
        processes.end_marked(path)
        if not folder.locked():
            return
        if time.monotonic() > deadline:
            raise OSError("the keeper does not die")
        time.sleep(0.01)


def _remove(path: str) -> None:
    if ReplicaFolder(path).locked():
        raise ValueError("its keeper lives; kill it, or wait until it has ended")
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)
    with contextlib.suppress(OSError):  # other replicas of the attempt are there, or all is gone already
        os.rmdir(os.path.dirname(path))


def _parse_kept(path: object) -> str:
    """The absolute path of what a job kept, ``…/checkpoints/<job>``, or a `ValueError`."""
    if not isinstance(path, str) or _KEPT.fullmatch(path) is None or os.path.normpath(path) != path:
        raise ValueError(f"{path!r} is not where a job keeps anything; that is <storage>/checkpoints/<job>")
    return path


def _forget(path: str) -> None:
    parent = os.path.dirname(path)
    if os.path.realpath(parent) != parent or os.path.islink(path):
        raise ValueError(f"{path} leads elsewhere; it is left alone")
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


if __name__ == "__main__":
    sys.exit(main())

"""What a user's replicas share on a machine: blobs by digest, overlays by content, the agent's own files.

Everything in it can be had again, so it is pruned by age and never trusted: a blob is hashed whenever it is
taken out.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import threading
import time
from typing import Iterator, Optional

from .api import Api
from .failure import Stopped

__all__ = ["Cache"]

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_KEPT = 14 * 86400.0
_PRUNE_EVERY = 86400.0
_LOCK_PAUSE = 0.05


class Cache:
    """One user's cache on one machine.

    Parameters
    ----------
    path
        Its folder, made 0700 where it is not there.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        os.makedirs(path, mode=0o700, exist_ok=True)

    def folder(self, *names: str) -> str:
        """A folder below, made where it is not there."""
        path = os.path.join(self.path, *names)
        os.makedirs(path, mode=0o700, exist_ok=True)
        return path

    def blob(self, digest: str, api: Api, stop: threading.Event) -> str:
        """The path of a blob, fetched if need be and verified in any case.

        Raises
        ------
        Refused
            If the service has no such blob for this job.
        ValueError
            If ``digest`` is none.
        """
        match = _DIGEST.fullmatch(digest)
        if match is None:
            raise ValueError(f"{digest!r} is not a digest")
        name = match[1]
        path = os.path.join(self.folder("blobs", name[:2]), name)
        if self._holds(path, name):
            return path
        if stop.is_set():
            raise Stopped
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(path), prefix="new-", delete=False) as file:
            try:
                api.fetch_blob(digest, file)
                file.flush()
                os.rename(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
        return path

    def _holds(self, path: str, name: str) -> bool:
        sha = hashlib.sha256()
        try:
            with open(path, "rb") as file:
                for chunk in iter(lambda: file.read(1 << 20), b""):
                    sha.update(chunk)
        except FileNotFoundError:
            return False
        if sha.hexdigest() != name:
            os.unlink(path)  # whoever runs here as this user could have changed it
            return False
        os.utime(path)
        return True

    @contextlib.contextmanager
    def locked(self, name: str, stop: Optional[threading.Event] = None) -> Iterator[None]:
        """Hold a lock that all replicas of this user share; gives up with `Stopped`."""
        descriptor = os.open(
            os.path.join(self.folder("locks"), name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if stop is None:
                        raise
                    if stop.wait(_LOCK_PAUSE):
                        raise Stopped from None
            yield
        finally:
            os.close(descriptor)

    def prune(self, kept: float = _KEPT) -> None:
        """Remove what nobody used for two weeks; does something once a day, in one replica."""
        stamp = os.path.join(self.path, "pruned")
        with contextlib.suppress(FileNotFoundError):
            if time.time() - os.stat(stamp).st_mtime < _PRUNE_EVERY:
                return
        try:
            with self.locked("prune"):
                with open(stamp, "w", encoding="ascii"):
                    os.utime(stamp)
                self._prune_before(time.time() - kept)
        except BlockingIOError:
            return  # another replica does it

    def _prune_before(self, moment: float) -> None:
        for parent, _, names in os.walk(self.folder("blobs")):
            for name in names:
                path = os.path.join(parent, name)
                with contextlib.suppress(FileNotFoundError):
                    if os.stat(path).st_mtime < moment:
                        os.unlink(path)
        for name in os.listdir(self.folder("overlays")):
            path = self.folder("overlays", name)
            used = os.path.join(path, "complete")
            with contextlib.suppress(FileNotFoundError):
                if os.stat(used).st_mtime < moment:
                    os.unlink(used)
                    shutil.rmtree(path)

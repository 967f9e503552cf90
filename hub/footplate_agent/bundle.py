"""Files that the user's own Python reads: the runner, cloudpickle, and the stand-in for ``footplate``.

They must be real files even where this package runs from a zip, so they are laid out in the cache under
the digest of their content, whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import pkgutil
import shutil
import tempfile
from typing import Dict, NamedTuple

from .cache import Cache

__all__ = ["Laid", "contents", "lay_out"]

_CLOUDPICKLE = ("__init__.py", "cloudpickle.py", "cloudpickle_fast.py")


class Laid(NamedTuple):
    """Where the files are: the runner's path, and the folder that holds the stand-in."""

    runner: str
    standin: str


_contents: Dict[str, bytes] = {}


def contents() -> Dict[str, bytes]:
    """All files by their path below the bundle; read once a process."""
    if not _contents:
        _contents["runner.py"] = _required("footplate_agent", "runner.py")
        _contents["standin/footplate/__init__.py"] = _required(
            "footplate_agent", "standin/footplate/__init__.py"
        )
        for name in _CLOUDPICKLE:
            data = _optional("cloudpickle", name)
            if data is not None:
                _contents[f"vendored/cloudpickle/{name}"] = data
    return _contents


def _required(package: str, name: str) -> bytes:
    data = pkgutil.get_data(package, name)
    if data is None:
        raise FileNotFoundError(f"{package}/{name}")
    return data


def _optional(package: str, name: str) -> "bytes | None":
    try:
        return pkgutil.get_data(package, name)
    except (OSError, ImportError):
        return None


def _key(files: Dict[str, bytes]) -> str:
    sha = hashlib.sha256()
    for path in sorted(files):
        sha.update(f"{path}\0{len(files[path])}\0".encode())
        sha.update(files[path])
    return sha.hexdigest()[:16]


def lay_out(cache: Cache) -> Laid:
    """Put the files into the cache, unless they are there."""
    files = contents()
    folder = os.path.join(cache.folder("agent"), _key(files))
    if not os.path.isdir(folder):
        fresh = tempfile.mkdtemp(dir=cache.folder("agent"))
        for path, data in files.items():
            target = os.path.join(fresh, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as file:
                file.write(data)
        try:
            os.rename(fresh, folder)
        except OSError:
            shutil.rmtree(fresh)  # another replica was faster
    return Laid(os.path.join(folder, "runner.py"), os.path.join(folder, "standin"))

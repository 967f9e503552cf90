"""Lays out a workspace snapshot: a tree of content-addressed files, unpacked into the working directory.

The service has checked the tree, and so does this: a path is created only through folders that are folders,
and links come last, so that no file is ever written through one.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List

from .api import Refused
from .failure import PreparationFailed
from .supplies import Supplies

__all__ = ["HostileTreeError", "fetch_workspace", "parse_tree"]

_CONNECTIONS = 4
_FEW = 8


class HostileTreeError(ValueError):
    """A tree that would write outside its folder, or is none."""


def parse_tree(text: bytes) -> List[Dict[str, Any]]:
    """The files of a tree, every path checked.

    Raises
    ------
    HostileTreeError
        With the path that is wrong.
    """
    try:
        files = json.loads(text)["files"]
        paths = {str(file["path"]) for file in files}
    except (ValueError, KeyError, TypeError) as error:
        raise HostileTreeError(f"this is not a tree: {error}") from None
    if len(paths) != len(files):
        raise HostileTreeError("a path occurs twice")
    for file in files:
        _check(file, paths)
    return list(files)


def _check(file: Dict[str, Any], paths: "set[str]") -> None:
    path = file["path"]
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in path:
        raise HostileTreeError(f"{path!r} is not a path inside the folder")
    if any("/".join(parts[:depth]) in paths for depth in range(1, len(parts))):
        raise HostileTreeError(f"{path!r} lies below a file")
    if file.get("mode", "file") not in ("file", "executable", "link"):
        raise HostileTreeError(f"{path!r} has an unknown mode")
    if file.get("mode") == "link":
        target = str(file.get("target") or "/")
        depth = len(parts) - 1
        for part in target.split("/"):
            depth += -1 if part == ".." else part not in ("", ".")
            if target.startswith("/") or depth < 0 or "\0" in target:
                raise HostileTreeError(f"{path!r} links to {target!r}, outside the folder")


def fetch_workspace(digest: str, work: str, supplies: Supplies) -> None:
    """Make ``work`` hold the snapshot.

    Raises
    ------
    PreparationFailed
        With cause ``CodeFetch``.
    Stopped
        If ``stop`` was set meanwhile.
    """
    try:
        with open(supplies.blob(digest), "rb") as text:
            files = parse_tree(text.read())
        _fetch_all([str(file["digest"]) for file in files if file.get("mode") != "link"], supplies)
        for file in sorted(files, key=lambda file: file.get("mode") == "link"):
            _place(file, work, supplies)
    except HostileTreeError as error:
        raise PreparationFailed("CodeFetch", f"The workspace was refused: {error}.") from None
    except Refused as refused:
        raise PreparationFailed(
            "CodeFetch", f"The workspace could not be fetched: {refused}; submit the job again."
        ) from None


def _fetch_all(digests: List[str], supplies: Supplies) -> None:
    """Bring what is missing into the cache; many small files over several connections."""
    wanted = list(dict.fromkeys(digests))
    if len(wanted) <= _FEW:
        return  # `_place` fetches as it goes
    apis = [supplies.api.another() for _ in range(_CONNECTIONS)]

    def fetch(lane: int) -> None:
        for digest in wanted[lane::_CONNECTIONS]:
            supplies.cache.blob(digest, apis[lane], supplies.stop)

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        list(pool.map(fetch, range(_CONNECTIONS)))  # raises what a lane raised
    for one in apis:
        one.close()


def _place(file: Dict[str, Any], work: str, supplies: Supplies) -> None:
    path = os.path.join(work, *file["path"].split("/"))
    _make_folders(work, file["path"])
    if os.path.lexists(path):
        os.unlink(path)
    if file.get("mode") == "link":
        os.symlink(file["target"], path)
        return
    source = supplies.blob(str(file["digest"]))
    mode = 0o700 if file.get("mode") == "executable" else 0o600
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    # A copy, not a hard link: the program may change its files, and the cache must not change with them.
    with open(source, "rb") as reader, os.fdopen(target, "wb") as writer:
        for chunk in iter(lambda: reader.read(1 << 20), b""):
            writer.write(chunk)


def _make_folders(work: str, path: str) -> None:
    folder = work
    for part in path.split("/")[:-1]:
        folder = os.path.join(folder, part)
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            if os.path.islink(folder) or not os.path.isdir(folder):
                raise HostileTreeError(f"{path!r} leads through {part!r}, which is not a folder") from None

"""Uploads what an execution left: the values of its cell, and the files of ``$FOOTPLATE_OUTPUT``."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
from dataclasses import dataclass, field
from typing import IO, Any, Dict, List, Optional, Tuple

from .api import Api
from .folder import ReplicaFolder

__all__ = ["Left", "collect"]


@dataclass
class Left:
    """What was left behind, all of it uploaded.

    Parameters
    ----------
    outputs
        Values by name, as ``footplate_spec.Payload``.
    files
        Digest of the tree of the output folder, if anything is in it.
    notes
        Sentences for the log about what could not be taken along.
    """

    outputs: Dict[str, Dict[str, str]] = field(default_factory=dict)
    files: Optional[str] = None
    error: Optional[str] = None
    traceback: Optional[str] = None
    notes: List[str] = field(default_factory=list)


def collect(folder: ReplicaFolder, api: Api) -> Left:
    """Upload everything and say what it was.

    Raises
    ------
    Refused
        If the service does not take it.
    """
    left = Left()
    result = _read_result(folder.result)
    if result is not None:
        left.error, left.traceback = result.get("error"), result.get("traceback")
        for name, value in (result.get("outputs") or {}).items():
            path = os.path.join(folder.result, os.path.basename(str(value["file"])))
            with open(path, "rb") as file:
                digest, _ = _upload(file, api)
            left.outputs[str(name)] = {"encoding": str(value["encoding"]), "digest": digest}
    files = _files_of(folder.output, left.notes)
    if files:
        left.files = _upload_tree(folder.output, files, api)
    return left


def _read_result(path: str) -> Optional[Dict[str, Any]]:
    try:
        with open(os.path.join(path, "result.json"), encoding="utf-8") as file:
            result = json.load(file)
    except (OSError, ValueError):
        return None  # the program was no cell, or died before it had a result
    return result if isinstance(result, dict) else None


def _upload(file: IO[bytes], api: Api) -> Tuple[str, int]:
    sha, size = hashlib.sha256(), 0
    for chunk in iter(lambda: file.read(1 << 20), b""):
        sha.update(chunk)
        size += len(chunk)
    digest = f"sha256:{sha.hexdigest()}"
    api.store_blob(digest, file, size)
    return digest, size


def _files_of(root: str, notes: List[str]) -> List[Tuple[str, str]]:
    """(path inside, path on disk) of all that can travel; what cannot is noted."""
    found = []
    for parent, folders, names in os.walk(root):
        folders.sort()
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        for name in sorted(names + links):
            path = os.path.join(parent, name)
            inside = os.path.relpath(path, root)
            if _travels(path, root):
                found.append((inside, path))
            else:
                notes.append(f"footplate: $FOOTPLATE_OUTPUT/{inside} is no file, or a broken link: left out")
    return sorted(found)


def _stays(path: str, root: str) -> bool:
    """Whether a link is relative and stays in the folder, as a tree may hold it."""
    target = os.readlink(path)
    if target.startswith("/"):
        return False
    depth = len(os.path.relpath(path, root).split("/")) - 1
    for part in target.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            return False
    return True


def _travels(path: str, root: str) -> bool:
    if os.path.islink(path) and _stays(path, root):
        return True
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def _upload_tree(root: str, found: List[Tuple[str, str]], api: Api) -> str:
    files: List[Dict[str, Any]] = []
    for inside, path in found:
        if os.path.islink(path) and _stays(path, root):
            files.append({"path": inside, "mode": "link", "target": os.readlink(path)})
            continue
        with open(path, "rb") as file:
            digest, size = _upload(file, api)
            executable = bool(os.fstat(file.fileno()).st_mode & stat.S_IXUSR)
        mode = "executable" if executable else "file"
        files.append({"path": inside, "size": size, "digest": digest, "mode": mode})
    text = json.dumps({"kind": "tree/1", "files": files}).encode()
    return _upload(io.BytesIO(text), api)[0]

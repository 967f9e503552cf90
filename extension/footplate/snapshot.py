"""A folder's files as a tree of digests, made without reading again what did not change.

A file whose size, times and inode are as they were has the digest that it had. What was written within the
last second is never remembered: a second write in the same tick of the clock would not show.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from footplate_spec import Tree, TreeFile
from footplate_spec.units import format_bytes

from .errors import WrongCallError
from .uploads import Blob, blob_of
from .workspace import Found, Selection, select

__all__ = ["WORKSPACE_LIMIT", "DigestCache", "Snapshot", "snapshot"]

WORKSPACE_LIMIT = 2 * 2**30
_RACY = 1.0
_READ = 2**20


@dataclass(frozen=True)
class Snapshot:
    """A workspace, ready to travel.

    Parameters
    ----------
    tree
        The blob that names the whole folder.
    blobs
        The files' bytes, each once.
    selection
        What was chosen and what was left behind.
    """

    tree: Blob
    blobs: list[Blob]
    selection: Selection


class DigestCache:
    """Digests of one folder's files, kept in the person's cache folder between kernels.

    Parameters
    ----------
    root
        The folder.
    """

    def __init__(self, root: Path) -> None:
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        name = hashlib.sha256(str(root).encode(errors="surrogateescape")).hexdigest()[:32]
        self._file = Path(cache) / "footplate" / "digests" / f"{name}.json"
        self._old = self._load()
        self._new: dict[str, list[int | str]] = {}

    def _load(self) -> dict[str, list[int | str]]:
        try:
            stored = json.loads(self._file.read_bytes())
        except (OSError, ValueError):
            return {}
        return stored if isinstance(stored, dict) else {}

    def digest(self, root: Path, found: Found) -> str:
        """A file's digest, read from the disk only if it is not known."""
        mark = _mark(found.status)
        known = self._old.get(found.path)
        if isinstance(known, list) and known[:-1] == mark and str(known[-1]).startswith("sha256:"):
            self._new[found.path] = known
            return str(known[-1])
        digest = _digest(root / found.path)
        if time.time() - max(found.status.st_mtime, found.status.st_ctime) > _RACY:
            self._new[found.path] = [*mark, digest]
        return digest

    def save(self) -> None:
        """Keep what was learnt, if anything was. Losing it costs time only."""
        if self._new == self._old:
            return
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = self._file.with_suffix(f".{secrets.token_hex(4)}")
            fresh.write_text(json.dumps(self._new, separators=(",", ":")), encoding="utf-8")
            fresh.replace(self._file)
            self._old = dict(self._new)


def snapshot(root: Path, *, selection: Selection | None = None, limit: int = WORKSPACE_LIMIT) -> Snapshot:
    """Name every file of a folder by its content.

    Raises
    ------
    WrongCallError
        If the folder is over the limit, or a file cannot be read.
    """
    chosen = selection or select(root)
    if chosen.size > limit:
        raise WrongCallError(_too_large(chosen, limit))
    cache = DigestCache(chosen.root)
    files: list[TreeFile] = []
    blobs: dict[str, Blob] = {}
    for found in chosen.files:
        if found.target is not None:
            files.append(TreeFile(path=found.path, mode="link", target=found.target))
            continue
        digest = cache.digest(chosen.root, found)
        size = found.status.st_size
        executable = found.status.st_mode & 0o100
        files.append(
            TreeFile(path=found.path, size=size, digest=digest, mode="executable" if executable else "file")
        )
        blobs.setdefault(digest, Blob(digest, size, chosen.root / found.path))
    cache.save()
    tree = blob_of(Tree(files=files).model_dump_json(exclude_none=True).encode())
    return Snapshot(tree, list(blobs.values()), chosen)


def _mark(status: os.stat_result) -> list[int | str]:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _digest(file: Path) -> str:
    sha = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            while chunk := opened.read(_READ):
                sha.update(chunk)
    except OSError as error:
        raise WrongCallError(
            f"{file} cannot be read ({error.strerror}); name it in .footplateignore to leave it here"
        ) from None
    return f"sha256:{sha.hexdigest()}"


def _too_large(selection: Selection, limit: int) -> str:
    """The refusal, with the entries that would help most if they were left out."""
    weights: Counter[str] = Counter()
    for found in selection.files:
        first, slash, _ = found.path.partition("/")
        weights[first + slash] += found.status.st_size
    heavy = ", ".join(f"{name} {format_bytes(size)}" for name, size in weights.most_common(3))
    return (
        f"the workspace {selection.root} is {format_bytes(selection.size)}, over the limit of "
        f"{format_bytes(limit)} ({heavy}); keep data on a volume (--volume NAME:PATH) "
        "and name it in .footplateignore"
    )

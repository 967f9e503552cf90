"""A tree of blobs as files again. It comes from another machine: no path of it may lead out of the folder."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from pydantic import ValidationError

from footplate_spec import Tree, TreeFile

from .errors import FootplateError
from .uploads import BlobStore

__all__ = ["download_tree"]


def download_tree(blobs: BlobStore, digest: str, folder: Path) -> list[Path]:
    """Write a tree's files below a folder, each whole or not at all; links last.

    Raises
    ------
    FootplateError
        If the tree is not one, or the disk refuses.
    """
    try:
        tree = Tree.model_validate(blobs.fetch_json(digest))
    except ValidationError:
        raise FootplateError("the list of files is not one that can be unpacked safely") from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [
            _place(blobs, file, folder) for file in sorted(tree.files, key=lambda file: file.mode == "link")
        ]
    except OSError as error:
        raise FootplateError(f"{error.filename or folder} cannot be written: {error.strerror}") from None


def _place(blobs: BlobStore, file: TreeFile, folder: Path) -> Path:
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    # A link that was in the folder before may lead anywhere.
    if not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(folder)):
        raise FootplateError(f"{path.parent} leads out of {folder}; download into another folder")
    fresh = path.with_name(f".{secrets.token_hex(6)}.part")
    try:
        if file.target is not None:
            fresh.symlink_to(file.target)
        else:
            assert file.digest is not None
            with fresh.open("xb") as opened:
                blobs.fetch_into(file.digest, opened)
                opened.flush()
                os.fsync(opened.fileno())
            if file.mode == "executable":
                fresh.chmod(fresh.stat().st_mode | 0o111)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return path

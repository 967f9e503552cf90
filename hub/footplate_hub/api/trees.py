"""A workspace or an output as the service sees it: a tree whose files are all the owner's."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pydantic import ValidationError

from footplate_spec import Tree, explain_validation
from footplate_spec.units import format_bytes

from ..rooms import Rooms
from ..store import Transaction, blobs
from ..store.blobs import MissingBlobError
from .errors import Refusal

__all__ = ["keep_tree"]

_LARGEST_LIST = 256 * 2**20  # bytes of a tree's own text
_REMEMBERED = 1000


async def keep_tree(rooms: Rooms, owner: str, digest: str, *, largest: int | None = None) -> None:
    """Make a stored tree keep its files; done once for each owner and tree.

    Parameters
    ----------
    largest
        Bytes that all files may have together.

    Raises
    ------
    MissingBlobError
        If the owner has not stored the tree, or one of its files.
    Refusal
        If it is no tree, or too large.
    """
    if (owner, digest) in rooms.kept_trees:
        rooms.kept_trees.move_to_end((owner, digest))
        return
    async with rooms.database.read() as connection:
        size = (await blobs.owned(connection, owner, [digest])).get(digest)
    if size is None:
        raise MissingBlobError(digest)
    if size > _LARGEST_LIST:
        raise Refusal(422, f"{digest} is too long to be the list of a folder's files")
    tree = await asyncio.to_thread(_parse, rooms.blobs.path(digest))
    if largest is not None and tree.size > largest:
        raise Refusal(
            413,
            f"the workspace has {format_bytes(tree.size)}, above the limit of {format_bytes(largest)}; "
            "put large data on a volume, or into .gitignore",
        )
    files = {file.digest: file.size for file in tree.files if file.digest is not None}

    async def unit(t: Transaction) -> None:
        sizes = await blobs.owned(t.connection, owner, files)
        for file, said in files.items():
            if sizes.get(file, said) != said:  # the limit was checked against what the tree says
                raise Refusal(422, f"{file} has {sizes[file]} bytes, but its tree says {said}")
        await blobs.keep_tree(t, owner, digest, list(files))

    await rooms.database.write(unit)
    rooms.kept_trees[owner, digest] = None
    while len(rooms.kept_trees) > _REMEMBERED:
        rooms.kept_trees.popitem(last=False)


def _parse(path: Path) -> Tree:
    try:
        return Tree.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise Refusal(422, f"the list of files is not valid: {explain_validation(error)}") from None
    except FileNotFoundError:
        raise Refusal(
            410, "the list of files was damaged on the disk of the service; upload it again"
        ) from None

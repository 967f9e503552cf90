"""A folder as a list of content-addressed files: workspaces going in, outputs coming back.

The tree itself is a blob: its digest names the whole folder, and files that did not change are neither
uploaded nor stored twice. Paths are hostile until checked, so a tree with a path that leaves its folder
does not parse.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from .base import Submitted
from .names import Digest

__all__ = ["Tree", "TreeFile"]


class TreeFile(Submitted):
    """One file: where, what, and whether it may be executed. A link's ``target`` stays inside."""

    what: ClassVar[str] = "a file"
    path: str
    size: Annotated[int, Field(ge=0)] = 0
    digest: Digest | None = None
    mode: Literal["file", "executable", "link"] = "file"
    target: str | None = None

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or "\0" in path or path != "/".join(parts):
            raise ValueError(f"{path!r} is not a path inside the folder")
        return path

    @model_validator(mode="after")
    def _bytes_or_target(self) -> Self:
        if (self.mode == "link") != (self.target is not None) or (self.mode == "link") == (
            self.digest is not None
        ):
            raise ValueError(f"{self.path!r} has either bytes or a link's target")
        if self.target is not None and _leaves(self.path, self.target):
            raise ValueError(f"{self.path!r} links to {self.target!r}, outside the folder")
        return self


def _leaves(path: str, target: str) -> bool:
    """Whether a relative link at ``path`` to ``target`` may point outside the tree.

    ``..`` is allowed at the beginning only: after a name it may follow another link, and where that
    leads cannot be read from the text.
    """
    if target.startswith("/"):
        return True
    parts = PurePosixPath(target).parts
    up = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
    return up > len(PurePosixPath(path).parts) - 1 or ".." in parts[up:]


class Tree(Submitted):
    """Files in order of their paths."""

    what: ClassVar[str] = "a tree"
    kind: Literal["tree/1"] = "tree/1"
    files: list[TreeFile]

    @model_validator(mode="after")
    def _no_two_at_one_place(self) -> Self:
        paths = [file.path for file in self.files]
        seen = set(paths)
        if len(seen) != len(paths):
            raise ValueError("a path occurs twice")
        for path in paths:
            for parent in PurePosixPath(path).parents:
                if str(parent) in seen:
                    raise ValueError(f"{str(parent)!r} is both a file and a folder")
        return self

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

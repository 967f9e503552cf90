"""Where a job's code comes from: a folder as it is now, a git commit, or nowhere but the cell itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from footplate_spec import GitSource, explain_validation

from .errors import WrongCallError
from .gitref import resolve
from .snapshot import WORKSPACE_LIMIT, Snapshot, snapshot
from .uploads import Blob
from .wording import size
from .workspace import select

__all__ = ["AUTO", "Code", "find_code"]

AUTO = "auto"

# What goes with a cell although nobody asked for it stays small where git does not say what belongs to it.
_MOST_FILES = 2000
_MOST_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Code:
    """The code's part of a job.

    Parameters
    ----------
    source
        Fields of the contract's ``source``.
    blobs
        What must be uploaded first.
    travels
        What goes along, for a person: ``3 files, 12.4 KiB``.
    notes
        What stays behind and why.
    warnings
        What else a person should know before it runs.
    root
        The folder whose contents the job finds in its working directory.
    """

    source: dict[str, Any] = field(default_factory=dict)
    blobs: list[Blob] = field(default_factory=list)
    travels: str = ""
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    root: Path | None = None


def find_code(
    workspace: str | Path | None = AUTO,
    *,
    git: str | None = None,
    ref: str | None = None,
    path: str | None = None,
    submodules: bool = False,
    git_secret: str | None = None,
) -> Code:
    """Decide what travels.

    Parameters
    ----------
    workspace
        A folder; ``"auto"``: this one if it is a project of a sensible size; None: nothing.
    git, ref, path, submodules, git_secret
        A repository instead, at a branch, tag or commit; a folder inside it; the secret that opens it.

    Raises
    ------
    WrongCallError
        If the two are mixed, or the folder cannot be sent.
    """
    if git is not None:
        if workspace not in {None, AUTO}:
            raise WrongCallError("code comes from a workspace or from git, not from both")
        given = {"ref": ref, "path": path, "secret": git_secret, "submodules": submodules or None}
        fields = {"url": git, **{name: value for name, value in given.items() if value is not None}}
        try:
            GitSource.model_validate(fields)
        except ValidationError as error:
            raise WrongCallError(explain_validation(error, "git")) from None
        commit, note = (None, None) if git_secret else resolve(git, ref or "HEAD")
        return Code(
            {"git": {**fields, **({"commit": commit} if commit else {})}},
            travels=f"{git} at {commit[:12] if commit else ref or 'HEAD'}",
            warnings=[note] if note else [],
        )
    if ref or path or submodules or git_secret:
        raise WrongCallError("ref, path, submodules and git_secret go with git=URL")
    if workspace is None:
        return Code()
    if workspace == AUTO:
        return _automatic(Path.cwd())
    return _packed(snapshot(Path(workspace).expanduser()))


def _automatic(folder: Path) -> Code:
    """The folder that a notebook lies in, unless it is more than a project."""
    if folder in {Path.home(), Path(folder.anchor)}:
        return Code()
    in_git = any((above / ".git").exists() for above in (folder, *folder.parents))
    selection = select(folder, None if in_git else _MOST_FILES)
    limit = WORKSPACE_LIMIT if in_git else _MOST_BYTES
    if not selection.complete or selection.size > limit:
        what = f"more than {_MOST_FILES} files" if not selection.complete else size(selection.size)
        return Code(warnings=[f"this folder ({what}) stays here; --workspace . sends it"])
    return _packed(snapshot(folder, selection=selection))


def _packed(packed: Snapshot) -> Code:
    selection = packed.selection
    if not selection.files:
        return Code(notes=selection.left_behind(), root=selection.root)
    number = len(selection.files)
    return Code(
        {"workspace": {"digest": packed.tree.digest}},
        [packed.tree, *packed.blobs],
        f"{number} file{'s' if number != 1 else ''}, {size(selection.size)}",
        selection.left_behind(),
        root=selection.root,
    )

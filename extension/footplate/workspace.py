"""Which files of a folder travel with a job, and which stay behind.

What git tracks and what it does not ignore travels; where there is no git, all but what ``.gitignore`` names.
``.footplateignore`` (the same syntax) takes out more. Secrets, caches and virtual environments never travel,
not even when they are tracked, and what stayed behind is said. Nothing is read here but names and sizes.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

import pathspec

from .errors import WrongCallError

__all__ = ["Found", "Selection", "select"]

# Matched against the whole relative path and against its last part.
_SECRETS = (
    ".env",
    ".env.*",
    ".envrc",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    ".netrc",
    ".pgpass",
    ".pypirc",
    ".npmrc",
    ".git-credentials",
    ".htpasswd",
    "credentials.json",
    "client_secret*.json",
    "kubeconfig",
    ".footplate/*",
)
_SECRET_FOLDERS = frozenset({".ssh", ".gnupg", ".aws", ".azure", ".gcloud", ".kube", ".docker", ".footplate"})
_CACHES = frozenset({
    ".git",
    ".hg",
    ".svn",
    "__pycache__",
    ".ipynb_checkpoints",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    "node_modules",
})  # fmt: skip
_NAMES_SHOWN = 4


@dataclass(frozen=True)
class Found:
    """One file that travels: its path in the workspace and what the file system says of it."""

    path: str
    status: os.stat_result = field(repr=False)
    target: str | None = None


@dataclass
class Selection:
    """What travels from a folder and what does not.

    Parameters
    ----------
    root
        The folder.
    files
        In order of their paths.
    secrets, links, odd
        Left behind: what looks like a secret, links that leave the folder, what is no plain file.
    """

    root: Path
    files: list[Found] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    complete: bool = True

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(found.status.st_size for found in self.files if found.target is None)

    def left_behind(self) -> list[str]:
        """One clause for each kind of thing that stays here for a reason other than being ignored."""
        kinds = (
            (self.secrets, "that may hold secrets"),
            (self.links, "that link out of the folder"),
            (self.odd, "that are no plain files or whose names are not UTF-8"),
        )
        return [f"{_count(names)} {why} ({_names(names)})" for names, why in kinds if names]


def select(root: Path, most_files: int | None = None) -> Selection:
    """Choose the files of a folder.

    Parameters
    ----------
    most_files
        Stop beyond this many: the selection is then not ``complete``.

    Raises
    ------
    WrongCallError
        If the folder is not one or cannot be listed.
    """
    root = Path(os.path.abspath(root))
    if not root.is_dir():
        raise WrongCallError(f"there is no folder {root} to send")
    selection = Selection(root)
    ignored = _ignore_file(root / ".footplateignore")
    for path in _listed(root, selection):
        if ignored is not None and ignored.match_file(path):
            continue
        _consider(selection, path)
        if most_files is not None and len(selection.files) > most_files:
            selection.complete = False
            break
    selection.files.sort(key=lambda found: found.path)
    return selection


def _consider(selection: Selection, path: str) -> None:
    """Put one path where it belongs."""
    pure = PurePosixPath(path)
    if _is_cache(pure):
        return
    if is_secret(pure):
        selection.secrets.append(path)
        return
    try:
        path.encode()
        status = (selection.root / path).lstat()
    except UnicodeEncodeError:
        selection.odd.append(path.encode(errors="surrogateescape").decode(errors="replace"))
        return
    except FileNotFoundError:
        return  # tracked by git and deleted by hand
    if stat.S_ISLNK(status.st_mode):
        target = _inner_target(selection.root, path)
        if target is None:
            selection.links.append(path)
        else:
            selection.files.append(Found(path, status, target))
    elif stat.S_ISREG(status.st_mode):
        selection.files.append(Found(path, status))
    else:
        selection.odd.append(path)


def is_secret(path: PurePosixPath) -> bool:
    """Whether a file's name says that it holds something which is nobody else's business."""
    if _SECRET_FOLDERS.intersection(path.parts[:-1]):
        return True
    name = path.name.lower()
    return any(fnmatchcase(name, pattern) for pattern in _SECRETS)


def _is_cache(path: PurePosixPath) -> bool:
    return bool(_CACHES.intersection(path.parts)) or path.suffix == ".pyc"


def _inner_target(root: Path, path: str) -> str | None:
    """A link's target, relative and inside the folder in its text as on the disk, or None."""
    link = root / path
    target = os.readlink(link)
    if os.path.isabs(target):
        target = os.path.relpath(target, link.parent)
    # A link back up through a folder name ("a/../..") could lead elsewhere once "a" is itself a link.
    target = os.path.normpath(target)
    depth = len(PurePosixPath(path).parts) - 1
    if PurePosixPath(target).parts.count("..") > depth or not target.isprintable():
        return None
    real_root = os.path.realpath(root)
    real = os.path.realpath(link)
    inside = real == real_root or real.startswith(real_root + os.sep)
    return target if inside else None


def _listed(root: Path, selection: Selection) -> Iterator[str]:
    """Paths below a folder that are not ignored, by git where there is one."""
    names = _git_listed(root)
    if names is None:
        yield from _walked(root, root, [])
        return
    for name in names:
        path = name.rstrip("/")
        inner = root / path
        # A submodule, or a repository that lies in this one without being a part of it.
        if inner.is_dir() and not inner.is_symlink():
            if not any(inner.iterdir()):
                selection.odd.append(f"{path}/ (an empty submodule: git submodule update --init)")
            for below in _listed(inner, selection):
                yield f"{path}/{below}"
        else:
            yield path


def _git_listed(root: Path) -> list[str] | None:
    """What git tracks or would track below a folder, or None where git has no say."""
    if not any((folder / ".git").exists() for folder in (root, *root.parents)):
        return None
    try:
        answer = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
        if answer.returncode == 0 and not answer.stdout:
            ignored = _git(root, "check-ignore", "-q", ".").returncode == 0
            return None if ignored else []
    except FileNotFoundError:
        return None  # no git on this machine: the folder, with its .gitignore files read here
    if answer.returncode != 0:
        # Never fall back to the bare folder here: it holds what git would have kept out.
        said = answer.stderr.decode(errors="replace").strip().splitlines()
        raise WrongCallError(f"git cannot list {root}: {said[0] if said else 'it says nothing'}")
    return [os.fsdecode(name) for name in answer.stdout.split(b"\0") if name]


def _git(root: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    # A repository's own configuration must not run programs here.
    command = ["git", "-C", str(root), "-c", "core.fsmonitor=false", *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        env={**environment, "GIT_OPTIONAL_LOCKS": "0"},
    )


_Rules = list[tuple[Path, "pathspec.GitIgnoreSpec"]]


def _walked(root: Path, folder: Path, rules: _Rules) -> Iterator[str]:
    """Every file below a folder that no ``.gitignore`` above it names."""
    own = _ignore_file(folder / ".gitignore")
    rules = [*rules, (folder, own)] if own is not None else rules
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except PermissionError:
        raise WrongCallError(f"{folder} may not be read; name it in .footplateignore") from None
    for entry in entries:
        path = Path(entry.path)
        is_folder = entry.is_dir(follow_symlinks=False)
        if entry.name in _CACHES or _ignores(rules, path, is_folder=is_folder):
            continue
        if not is_folder:
            yield path.relative_to(root).as_posix()
        elif not (path / "pyvenv.cfg").exists():
            yield from _walked(root, path, rules)


def _ignores(rules: _Rules, path: Path, *, is_folder: bool) -> bool:
    """Whether the innermost ``.gitignore`` with an opinion ignores a path."""
    for folder, rule in reversed(rules):
        name = path.relative_to(folder).as_posix() + ("/" if is_folder else "")
        opinion = rule.check_file(name).include
        if opinion is not None:
            return opinion
    return False


def _ignore_file(file: Path) -> pathspec.GitIgnoreSpec | None:
    try:
        text = file.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    return pathspec.GitIgnoreSpec.from_lines(text.splitlines())


def _count(names: list[str]) -> str:
    return f"{len(names)} file" if len(names) == 1 else f"{len(names)} files"


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    return shown if len(names) <= _NAMES_SHOWN else f"{shown}, …"

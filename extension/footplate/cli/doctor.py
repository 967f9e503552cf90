"""What is missing here and how to get it. Rooms add checks by the entry point ``footplate.doctor``."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points

import click

from ..errors import FootplateError
from ..profile import Profile, find_profile
from .frame import as_json, client, show_json

__all__ = ["Check", "doctor"]

# Name; whether all is well, None where it cannot be said or does not matter; one sentence.
Check = tuple[str, bool | None, str]


@click.command()
@as_json
def doctor(as_json: bool) -> int:
    """Check this place and the platform, and say what is missing and how to get it."""
    checks = list(_all())
    if as_json:
        show_json([{"check": name, "ok": ok, "says": sentence} for name, ok, sentence in checks])
    else:
        width = max(len(name) for name, _, _ in checks)
        for name, ok, sentence in checks:
            click.echo(f"{_mark(ok)} {name.ljust(width)}  {sentence}")
    return 1 if any(ok is False for _, ok, _ in checks) else 0


def _mark(ok: bool | None) -> str:
    return "–" if ok is None else "✓" if ok else "✗"


def _all() -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield "python", True, f"{version} at {sys.executable}"
    git = shutil.which("git")
    yield "git", bool(git), git or "not found: install it, so that a workspace is what git says it is"
    try:
        profile = find_profile()
    except FootplateError as error:
        yield "platform", False, str(error)
    else:
        yield from _platform(profile)
    for point in entry_points(group="footplate.doctor"):
        try:
            checks: Callable[[], Iterable[Check]] = point.load()
        except ImportError as error:
            yield (
                point.name,
                None,
                f"not installed here ({error.name or error}): pip install 'footplate[hub]'",
            )
            continue
        yield from checks()


def _platform(profile: Profile) -> Iterator[Check]:
    if profile.token_file is not None:
        yield _private(profile.token_file)
    try:
        here = client()
        me = here.me
        yield "platform", True, f"{profile.url} runs version {me.version}"
        groups = ", ".join(me.groups) or "no group"
        yield "you", True, f"{me.name}, {groups}" + (", administrator" if me.admin else "")
        nodes = here.nodes()
    except FootplateError as error:
        yield "platform", False, str(error)
        return
    ready = [node for node in nodes if node.ready and not node.blocked]
    gpus = sum(node.gpu for node in ready)
    if not ready:
        yield "nodes", False, "none is ready: 'footplate nodes' shows why"
        return
    yield "nodes", True, f"{len(ready)} of {len(nodes)} ready"
    real = [node for node in ready if node.gpu and not node.declared]
    told = f"{gpus} in all" + ("" if real or not gpus else ", declared without a device")
    yield "GPUs", True if gpus else None, told if gpus else "none; jobs run on CPUs"


def _private(file: str | os.PathLike[str]) -> Check:
    """The token is a key to everything that its owner may do."""
    try:
        mode = stat.S_IMODE(os.stat(file).st_mode)
    except OSError as error:
        return "token", False, f"{file} cannot be read: {error.strerror}"
    if mode & 0o077:
        return "token", False, f"others may read {file}: chmod 600 {file}"
    return "token", True, f"{file}, private"

"""Checks out the exact commit that was recorded at submit.

A repository's address is hostile input: transports that execute commands are off, hooks and templates are
off, and nothing may ask a question. Credentials reach git through files and its environment, never through
arguments or addresses, and are cut from what it says.
"""

from __future__ import annotations

import os
import shutil
import threading
from typing import Any, Dict, Mapping, Optional

from .failure import PreparationFailed
from .folder import ReplicaFolder
from .tool import Finished, run_tool

__all__ = ["fetch_git"]

_TIME_LIMIT = 1800.0
_SECRET = "FOOTPLATE_GIT_SECRET"
_ASKPASS = """#!/bin/sh
case "$1" in
  Username*) printf '%s\\n' "$FOOTPLATE_GIT_USER" ;;
  *) printf '%s\\n' "$FOOTPLATE_GIT_SECRET" ;;
esac
"""


def fetch_git(
    source: Dict[str, Any],
    folder: ReplicaFolder,
    secret: Optional[Mapping[str, Any]],
    env: Dict[str, str],
    stop: threading.Event,
) -> str:
    """Make the replica's working directory hold the commit, and return which one that is.

    Parameters
    ----------
    source
        ``JobSpec.source.git``; without ``commit``, what its ``ref`` is now.
    secret
        ``{"value": …}``: a token for https, a private key for ssh; ``username`` where the host wants one.

    Raises
    ------
    PreparationFailed
        With cause ``CodeFetch``.
    Stopped
        If ``stop`` was set meanwhile.
    """
    work, scratch = folder.work, folder.file("git-secret")
    for path in (work, scratch):
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path, mode=0o700)
    try:
        credentials = _credentials(str(source["url"]), secret or {}, scratch)
        commit = _Checkout(source, work, {**env, **_quiet(), **credentials}, stop).fetch()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if source.get("path") and not os.path.isdir(os.path.join(work, str(source["path"]))):
        raise PreparationFailed(
            "CodeFetch", f"The repository has no folder {source['path']!r} at commit {commit[:12]}."
        )
    return commit


def _credentials(url: str, secret: Mapping[str, Any], scratch: str) -> Dict[str, str]:
    """The variables that let git use a secret, whose files are in ``scratch``."""
    value = str(secret.get("value") or "")
    if not value:
        return {}
    if url.startswith("ssh://") or ("://" not in url and ":" in url):
        key = os.path.join(scratch, "key")
        _write(key, value.rstrip("\n") + "\n", 0o600)
        options = "-o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=accept-new"
        return {"GIT_SSH_COMMAND": f"ssh -i '{key}' {options}", _SECRET: value}
    askpass = os.path.join(scratch, "askpass")
    _write(askpass, _ASKPASS, 0o700)
    user = str(secret.get("username") or "x-access-token")
    return {"GIT_ASKPASS": askpass, "FOOTPLATE_GIT_USER": user, _SECRET: value}


class _Checkout:
    def __init__(self, source: Dict[str, Any], work: str, env: Dict[str, str], stop: threading.Event) -> None:
        self._url, self._commit = str(source["url"]), str(source.get("commit") or "")
        self._ref = str(source.get("ref") or "HEAD")
        self._submodules = bool(source.get("submodules"))
        self._work, self._stop = work, stop
        self._secret = env.get(_SECRET, "")
        self._env = env

    def fetch(self) -> str:
        self._git("init", "-q", "--template=")
        wanted = self._commit or self._ref
        # A host that does not hand out single commits has the branch; failing that, everything.
        shallow = "--depth=1"
        for depth, refspec in (
            (shallow, wanted),
            (shallow, self._ref),
            ("--no-tags", "+refs/*:refs/origin/*"),
        ):
            done = self._run(
                "fetch", "-q", "--no-tags", "--recurse-submodules=no", depth, "--", self._url, refspec
            )
            if done.code == 0 and (not self._commit or self._has_commit()):
                break
        else:
            self._fail(f"commit {wanted[:40]} could not be fetched from {self._url}", done)
        self._git("checkout", "-q", "--detach", self._commit or "FETCH_HEAD", "--")
        if self._submodules:
            self._git("submodule", "update", "-q", "--init", "--recursive", "--depth=1")
        return self._run("rev-parse", "HEAD").output.strip()

    def _has_commit(self) -> bool:
        return self._run("cat-file", "-e", f"{self._commit}^{{commit}}").code == 0

    def _git(self, *arguments: str) -> None:
        done = self._run(*arguments)
        if done.code != 0:
            self._fail(f"git {arguments[0]} failed for {self._url}", done)

    def _run(self, *words: str) -> Finished:
        local = "://" not in self._url or self._url.startswith("file://")
        settings = {
            "core.hooksPath": os.devnull,
            "core.fsmonitor": "false",
            "protocol.ext.allow": "never",
            # Only a repository of this machine may refer to others of this machine.
            "protocol.file.allow": "always" if local else "never",
            "advice.detachedHead": "false",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        try:
            done = run_tool(["git", *options, *words], self._env, self._work, self._stop, _TIME_LIMIT)
        except FileNotFoundError:
            raise PreparationFailed(
                "CodeFetch", "This machine has no git; the job's code is in git."
            ) from None
        if done.timed_out:
            raise PreparationFailed("CodeFetch", f"git {words[0]} did not finish in {_TIME_LIMIT:g} s.")
        return done

    def _fail(self, what: str, done: Finished) -> None:
        said = done.last_lines(4)  # ssh speaks first, then three lines of git
        if self._secret:
            said = said.replace(self._secret, "***")
        raise PreparationFailed("CodeFetch", f"{what[0].upper()}{what[1:]}: {said}")


def _quiet() -> Dict[str, str]:
    return {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new",
        "GIT_LFS_SKIP_SMUDGE": "0",
        "LC_ALL": "C.UTF-8",
    }


def _write(path: str, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)

"""A branch or a tag as the commit that it means now, so that the run is recorded with what really ran.

Asked with the person's own means and without a prompt. What cannot be read from here (a repository that a
stored secret opens, a network that only the nodes reach) is left to the job, which records what it fetched.
"""

from __future__ import annotations

import os
import re
import subprocess

from .errors import WrongCallError

__all__ = ["resolve"]

_SECONDS = 20
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def resolve(url: str, ref: str) -> tuple[str | None, str | None]:
    """The commit, and a sentence where it cannot be told from here. ``url`` is one that the contract takes.

    Raises
    ------
    WrongCallError
        If the repository answers and has no such ref.
    """
    if _COMMIT.fullmatch(ref):
        return ref, None
    if ref.startswith("-"):
        raise WrongCallError(f"{ref!r} is not a branch, a tag or a commit")
    try:
        answer = subprocess.run(
            ["git", "ls-remote", "--", url, ref, f"{ref}^{{}}"],
            env={
                **os.environ,
                "GIT_TERMINAL_PROMPT": "0",
                "GIT_ASKPASS": "true",
                "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
            },
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None, f"{url} cannot be read from here; the job will try"
    if answer.returncode != 0:
        return None, f"{url} cannot be read from here; the job will try (a private one needs git_secret)"
    lines = [line.partition("\t") for line in answer.stdout.splitlines()]
    found = {name: commit for commit, _, name in lines}
    for name in (ref, f"refs/heads/{ref}", f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}"):
        if name in found:
            return found[name], None
    whole = "; a commit must be given whole" if re.fullmatch(r"[0-9a-f]{4,39}", ref) else ""
    raise WrongCallError(f"{url} has no branch or tag {ref!r}{whole}")

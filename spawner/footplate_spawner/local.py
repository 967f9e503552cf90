"""Dev machines as processes of this machine: of the one person, or of each person's own account.

Promises: a dev machine outlives hub and supervisor and is found again; a process that merely has its old
number is left alone; of two for one person, the stray ends before the next starts.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner
from traitlets import Unicode

from .processes import carries, end_all

__all__ = ["AccountDevMachine", "DevMachine", "OwnDevMachine"]

_HERE = Path(__file__).parent
_LEAST_UID = 1000


class NoAccountError(Exception):
    """The person has no account on this machine; ``jupyterhub_message`` is what the hub shows."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.jupyterhub_message = sentence


class DevMachine(LocalProcessSpawner):  # type: ignore[misc]
    """What both kinds share; see `OwnDevMachine` and `AccountDevMachine`."""

    platform = Unicode(help="Data folder of the platform; every process of a dev machine carries it.").tag(
        config=True
    )
    service_url = Unicode(help="Where notebooks find the service.").tag(config=True)
    log_folder = Unicode(help="Folder of the logs, one a dev machine.").tag(config=True)

    interrupt_timeout = 10
    term_timeout = 5

    @property
    def mark(self) -> dict[str, str]:
        """What tells the processes of this dev machine from all others."""
        return {
            "FOOTPLATE_DEV_OF": self.platform,
            "JUPYTERHUB_USER": self.user.name,
            "JUPYTERHUB_SERVER_NAME": self.name,
        }

    def get_env(self) -> dict[str, str]:
        """The usual environment, the way to the service, and a kernel that has ``%train`` loaded."""
        env: dict[str, str] = super().get_env()
        env["FOOTPLATE_DEV_OF"] = self.platform
        env["FOOTPLATE_URL"] = self.service_url
        env["JUPYTER_PATH"] = _first(_HERE / "share" / "jupyter", env.get("JUPYTER_PATH"))
        env["JUPYTER_CONFIG_PATH"] = _first(_HERE / "etc", env.get("JUPYTER_CONFIG_PATH"))
        return env

    async def start(self) -> tuple[str, int]:
        """Start it, after ending what an earlier hub started and could not write down."""
        strays = await asyncio.to_thread(end_all, self.mark)
        if strays:
            self.log.warning("Ended %i stray processes of the dev machine of %s", strays, self._log_name)
        with self._open_log() as log:
            self.popen_kwargs = {"stdin": -3, "stdout": log, "stderr": log}  # subprocess.DEVNULL
            try:
                address: tuple[str, int] = await super().start()
            finally:
                self.popen_kwargs = {}
        return address

    async def poll(self) -> int | None:
        """Whether it runs: None if so."""
        if self.proc is None and self.pid and not carries(self.pid, self.mark):
            self.clear_state()
            return 0
        status: int | None = await super().poll()
        return status

    async def _signal(self, sig: int) -> bool:
        """Signal it, and never whoever has its old number now."""
        if self.proc is None and not carries(self.pid, self.mark):
            return False
        alive: bool = await super()._signal(sig)
        return alive

    async def stop(self, now: bool = False) -> None:
        """End it with everything that it started: terminals, kernels, editors."""
        await super().stop(now=now)
        await asyncio.to_thread(end_all, self.mark)

    async def wait_for_death(self, timeout: float = 10) -> bool:  # noqa: ASYNC109 - the hub names it so
        """Whether it ended in time; told within a twentieth of a second, for people wait for it."""
        deadline = time.monotonic() + timeout
        while await self.poll() is None:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    def _open_log(self) -> Any:
        name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in self._log_name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        return os.fdopen(os.open(Path(self.log_folder) / f"dev-{name}.log", flags, 0o600), "ab")


class OwnDevMachine(DevMachine):
    """The dev machine of the one person, as whoever runs the platform, with their home and shell."""

    def make_preexec_fn(self, name: str) -> Callable[[], None]:
        """No other user; only the folder that JupyterLab shows."""
        folder = self.notebook_dir or str(Path.home())

        def enter() -> None:
            os.chdir(folder)

        return enter

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """The variables of the person's own session."""
        for name in ("HOME", "LOGNAME", "SHELL", "USER"):
            if name in os.environ:
                env[name] = os.environ[name]
        env.setdefault("USER", self.user.name)
        return env


class AccountDevMachine(DevMachine):
    """A dev machine as a process of the person's own account; the hub runs as root."""

    async def start(self) -> tuple[str, int]:
        """Refuse people without an account of their own before anything starts."""
        name = self.user.name
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            raise NoAccountError(
                f"{name} has no account on this machine; its administrator can make one: adduser {name}"
            ) from None
        if account.pw_uid < _LEAST_UID:
            raise NoAccountError(
                f"{name} is a system account (uid {account.pw_uid}); log in with a person's account"
            )
        return await super().start()


def _first(folder: Path, others: str | None) -> str:
    return os.pathsep.join([str(folder), others] if others else [str(folder)])

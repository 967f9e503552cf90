"""What is settled and checked before anything starts, so that a wrong call costs a second."""

from __future__ import annotations

import getpass
import os
import pwd
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from .children import SECRETS
from .errors import UpError, disk_sentence
from .folder import DataFolder, Lock
from .platform import Platform, Ports
from .ports import free_ports, is_free, port_problem

__all__ = ["AlreadyUpError", "Wishes", "default_folder", "prepare"]

_DEFAULT_PORT = 8000
_LEAST_SPACE = 64 * 2**20

T = TypeVar("T")


@dataclass(frozen=True)
class Wishes:
    """What the person at the terminal asked for; None: as last time, else the default."""

    folder: Path
    port: int | None = None
    host: str | None = None
    multi_user: bool | None = None
    config: Path | None = None
    notebooks: Path | None = None
    service_user: str | None = None


class AlreadyUpError(UpError):
    """The folder's platform runs already.

    Parameters
    ----------
    platform
        The one that runs, if its description can be read.
    """

    def __init__(self, folder: DataFolder, pid: int | None, platform: Platform | None) -> None:
        super().__init__(f"{folder.path} is already up (process {pid or 'unknown'})")
        self.platform = platform


def default_folder(*, multi_user: bool = False) -> Path:
    """``$FOOTPLATE_DIR``, else ``~/.footplate``; for several people ``/var/lib/footplate``."""
    if named := os.environ.get("FOOTPLATE_DIR"):
        return Path(named)
    return Path("/var/lib/footplate") if multi_user else Path.home() / ".footplate"


def prepare(wishes: Wishes) -> tuple[Platform, Lock]:
    """Settle everything and take the folder's lock.

    Raises
    ------
    AlreadyUpError
        If the platform runs.
    UpError
        If it could not run, with one sentence that says why.
    """
    folder = DataFolder(wishes.folder.expanduser().resolve())
    kept = Platform.load(folder)
    multi_user = _settled(wishes.multi_user, kept.multi_user if kept else None, False)
    if multi_user and os.geteuid() != 0:
        raise UpError(
            "a platform for several people starts processes as each of them and needs root; "
            "run it with sudo, or without --multi-user for yourself"
        )
    if kept and kept.multi_user != multi_user:
        raise UpError(
            f"{folder.path} was made for {_kind(kept.multi_user)}; choose another folder with --dir"
        )
    folder.create(shared=multi_user)
    _check_space(folder)
    lock = Lock(folder)
    if not lock.take():
        raise AlreadyUpError(folder, lock.holder(), kept)
    try:
        platform = _settle(wishes, folder, kept, multi_user)
        _check_ports(platform)
        _check_settings(platform)
        if multi_user:
            _give_to_service(platform)
        for name in SECRETS:
            folder.secret(name)
        platform.save()
    except OSError as error:
        raise UpError(disk_sentence(error, folder.path)) from None
    return platform, lock


def _settle(wishes: Wishes, folder: DataFolder, kept: Platform | None, multi_user: bool) -> Platform:
    public = _settled(wishes.port, kept.ports.public if kept else None, _DEFAULT_PORT)
    host = _settled(wishes.host, kept.host if kept else None, "127.0.0.1")
    config = wishes.config or (kept.config if kept else None)
    beside = folder.path / "footplate.yaml"
    if config is None and beside.exists():
        config = beside
    notebooks = _settled(wishes.notebooks, kept.notebooks if kept else None, Path.home())
    if not notebooks.expanduser().is_dir():
        raise UpError(f"{notebooks} is not a folder; name one that JupyterLab can show with --notebooks")
    return Platform(
        folder=folder,
        ports=_ports(public, kept.ports if kept else None, host),
        multi_user=multi_user,
        person=kept.person if kept else _person(),
        host=host,
        config=config.expanduser().resolve() if config else None,
        notebooks=notebooks.expanduser().resolve(),
        service_user=_settled(wishes.service_user, kept.service_user if kept else None, "footplate"),
    )


def _settled(wished: T | None, kept: T | None, default: T) -> T:
    return wished if wished is not None else kept if kept is not None else default


def _ports(public: int, kept: Ports | None, host: str) -> Ports:
    """Keep the inner ports where they are; new ones come next to the public one."""
    if kept is not None:
        return replace(kept, public=public)
    if problem := port_problem(public, "platform", host):
        raise UpError(problem)
    return Ports(public, *free_ports(3, after=public, taken=[public]))


def _check_ports(platform: Platform) -> None:
    ports = platform.ports
    purposes = {ports.hub: "hub", ports.service: "service", ports.proxy_api: "proxy's API"}
    if problem := port_problem(ports.public, "platform", platform.host):
        raise UpError(problem)
    for port, purpose in purposes.items():
        if not is_free(port):
            found = port_problem(port, purpose) or ""
            raise UpError(found.replace("or choose another port with --port", _keeps_ports(platform)))


def _keeps_ports(platform: Platform) -> str:
    return f"or remove {platform.folder.platform} to have other ports chosen (this ends running dev machines)"


def _check_settings(platform: Platform) -> None:
    # Here, since 'open', 'down' and 'status' settle nothing and would load the queue for it.
    from ..engines import EngineError
    from ..engines.local.nodes import check_nodes
    from ..settings import SettingsError, load_settings

    try:
        settings = load_settings(platform.config, data=platform.folder.service)
        check_nodes(settings.clusters)
    except (SettingsError, EngineError) as error:
        raise UpError(str(error)) from None


def _check_space(folder: DataFolder) -> None:
    room = os.statvfs(folder.path)
    free = room.f_bavail * room.f_frsize
    if free < _LEAST_SPACE:
        raise UpError(
            f"the disk of {folder.path} is full ({free // 2**20} MB are left): "
            "free some space there and try again"
        )


def _give_to_service(platform: Platform) -> None:
    """The service runs as its own user and owns its folder and nothing else."""
    try:
        account = pwd.getpwnam(platform.service_user)
    except KeyError:
        raise UpError(
            f"the service runs as its own user and there is no user {platform.service_user!r}; "
            f"make it with: useradd --system --no-create-home {platform.service_user}"
        ) from None
    if account.pw_uid == 0:
        raise UpError("the service must not run as root; name another user with --service-user")
    os.chown(platform.folder.service, account.pw_uid, account.pw_gid)


def _person() -> str:
    """The one person is called what the system calls them, in letters that a hub takes."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = ""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._") or "me"


def _kind(multi_user: bool) -> str:
    return "several people" if multi_user else "one person"

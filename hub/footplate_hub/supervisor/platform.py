"""What a platform is, kept between two starts: who it is for, where it listens, where its settings are.

Dev machines know the hub and the service by port, so a folder keeps its ports until its
owner asks for others.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .errors import UpError
from .folder import DataFolder, write_whole

__all__ = ["PREFIX", "Platform", "Ports"]

PREFIX = "/services/footplate/"


@dataclass(frozen=True)
class Ports:
    """Where each part listens; all but ``public`` on the loopback address."""

    public: int
    hub: int
    service: int
    proxy_api: int


@dataclass(frozen=True)
class Platform:
    """The choices that outlive a start.

    Parameters
    ----------
    folder
        The data folder.
    ports
        Found once and kept.
    multi_user
        People log in with their accounts; jobs and dev machines are processes of their own OS users.
    person
        Name of the one person, where there is one.
    host
        Address that the public port is bound to.
    config
        The owner's ``footplate.yaml``, if there is one.
    notebooks
        What the one person's JupyterLab shows.
    service_user
        OS user of the service on a server for several people.
    """

    folder: DataFolder
    ports: Ports
    multi_user: bool
    person: str
    host: str
    config: Path | None
    notebooks: Path
    service_user: str

    @property
    def address(self) -> str:
        """Where a browser on this machine finds the platform."""
        host = "127.0.0.1" if self.host in {"0.0.0.0", "::"} else self.host  # noqa: S104 - read, not bound
        return f"http://{f'[{host}]' if ':' in host else host}:{self.ports.public}"

    @property
    def service_url(self) -> str:
        """Where programs on this machine reach the service: past the proxy, so that its death is nobody's."""
        return f"http://127.0.0.1:{self.ports.service}{PREFIX}"

    @property
    def hub_api(self) -> str:
        """The hub's API, past the proxy."""
        return f"http://127.0.0.1:{self.ports.hub}/hub/api"

    @property
    def launcher_socket(self) -> Path:
        """Where the service reaches the root launcher."""
        return self.folder.run / "launcher.sock"

    def save(self) -> None:
        """Write it into the folder."""
        values = asdict(self)
        del values["folder"]
        write_whole(self.folder.platform, json.dumps(values, default=str, indent=2) + "\n")

    @staticmethod
    def load(folder: DataFolder) -> Platform | None:
        """What the last start chose, or None for a new folder.

        Raises
        ------
        UpError
            If the file is damaged.
        """
        try:
            values: dict[str, Any] = json.loads(folder.platform.read_text())
            config = values.pop("config")
            return Platform(
                folder=folder,
                ports=Ports(**values.pop("ports")),
                config=Path(config) if config else None,
                notebooks=Path(values.pop("notebooks")),
                **values,
            )
        except FileNotFoundError:
            return None
        except PermissionError:
            raise UpError(
                f"{folder.path} belongs to another user; choose your own folder with --dir"
            ) from None
        except (ValueError, TypeError, KeyError):
            raise UpError(
                f"{folder.platform} is damaged; remove it, and 'footplate up' chooses anew"
            ) from None

"""``footplate up``, ``down``, ``status`` and ``open``: one platform on one machine."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import sys
import time
import webbrowser
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from ..supervisor.errors import UpError
from ..supervisor.folder import DataFolder, Lock
from ..supervisor.links import make_link
from ..supervisor.platform import Platform
from ..supervisor.prepare import AlreadyUpError, Wishes, default_folder, prepare
from ..supervisor.status import Status
from .detached import detach

__all__ = ["down", "open_", "status", "up"]

_F = TypeVar("_F", bound=Callable[..., Any])
_REFUSED = 3
_PATIENCE = 60.0

_dir = click.option(
    "--dir", "folder", type=click.Path(path_type=Path), help="The platform's folder; default ~/.footplate."
)
_json = click.option("--json", "as_json", is_flag=True, help="JSON for programs.")


def _sentences(function: _F) -> _F:
    """What cannot be done is one sentence and exit code 3."""

    @functools.wraps(function)
    def verb(**options: Any) -> Any:
        try:
            return function(**options)
        except UpError as error:
            click.echo(f"footplate: {error}", err=True)
            return _REFUSED

    return verb  # type: ignore[return-value]


@click.command()
@_dir
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Where browsers find it; default 8000, then kept."
)
@click.option("--host", help="Address to listen on; default 127.0.0.1. Put TLS in front of any other.")
@click.option("--detach", "detached", is_flag=True, help="Return as soon as it is ready.")
@click.option("--multi-user/--one-person", default=None, help="For several people with accounts; needs root.")
@click.option(
    "--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="footplate.yaml."
)
@click.option("--notebooks", type=click.Path(path_type=Path), help="Folder that JupyterLab shows; default ~.")
@click.option("--service-user", help="OS user of the service with --multi-user; default footplate.")
@_json
@_sentences
def up(  # noqa: PLR0917 - click passes options by name
    folder: Path | None,
    port: int | None,
    host: str | None,
    detached: bool,
    multi_user: bool | None,
    config: Path | None,
    notebooks: Path | None,
    service_user: str | None,
    as_json: bool,
) -> int:
    """Start the platform on this machine and print a link that logs in once."""
    wishes = Wishes(
        folder or default_folder(multi_user=bool(multi_user)),
        port=port,
        host=host,
        multi_user=multi_user,
        config=config,
        notebooks=notebooks,
        service_user=service_user,
    )
    try:
        platform, lock = prepare(wishes)
    except AlreadyUpError as error:
        return _is_up_already(error, port, as_json)
    if detached:
        detach(platform, lock)
        _welcome(platform, as_json=as_json, detached=True)
        return 0
    return _in_foreground(platform, lock, as_json=as_json)


@click.command()
@_dir
@click.option("--keep-servers", is_flag=True, help="Dev machines go on, for an upgrade.")
@_json
@_sentences
def down(folder: Path | None, keep_servers: bool, as_json: bool) -> int:
    """Stop the platform. Running jobs go on, and the next 'footplate up' finds them."""
    data, pid = _running(folder)
    os.kill(pid, signal.SIGHUP if keep_servers else signal.SIGTERM)
    deadline = time.monotonic() + _PATIENCE
    lock = Lock(data)
    while lock.holder() is not None:
        if time.monotonic() > deadline:
            raise UpError(f"process {pid} does not end; look at {data.log / 'supervisor.log'}")
        time.sleep(0.05)
    _print({"dir": str(data.path), "up": False}, f"{data.path} is down", as_json=as_json)
    return 0


@click.command()
@_dir
@_json
@_sentences
def status(folder: Path | None, as_json: bool) -> int:
    """Say what runs; exit code 3 if the platform is down."""
    data, _ = _running(folder)
    found = Status.read(data)
    if found is None:
        raise UpError(f"{data.path} is starting; ask again in a moment")
    children = {
        child.name: {"pid": child.pid, "restarts": child.restarts, "why": child.why, "log": child.log}
        for child in found.children
    }
    values = {
        "dir": str(data.path),
        "up": True,
        "ready": found.ready is not None,
        "address": found.address,
        "pid": found.pid,
        "seconds": round(found.age),
        "seconds_to_ready": found.seconds_to_ready,
        "trouble": found.trouble,
        "children": children,
    }
    lines = [
        f"{data.path} is {'up' if found.ready else 'starting'} at {found.address}, "
        f"since {timedelta(seconds=round(found.age))}"
    ]
    for child in found.children:
        state = f"process {child.pid}" if child.pid else "starting again"
        times = f", started again {child.restarts} times: {child.why}" if child.restarts else ""
        lines.append(f"  {child.name:<9} {state}{times}")
    if found.trouble:
        lines.append(f"  {found.trouble}")
    _print(values, "\n".join(lines), as_json=as_json)
    return 0


@click.command("open")
@_dir
@click.argument("notebook", required=False)
@_json
@_sentences
def open_(folder: Path | None, notebook: str | None, as_json: bool) -> int:
    """Print a new login link, and open it where there is a browser.

    NOTEBOOK is a file to open, relative to the folder that JupyterLab shows.
    """
    data, _ = _running(folder)
    platform = _platform(data)
    link = _link(platform, notebook)
    _print({"link": link}, link, as_json=as_json)
    if not as_json and sys.stdout.isatty() and _has_browser():
        webbrowser.open(link)
    return 0


def _running(folder: Path | None) -> tuple[DataFolder, int]:
    data = DataFolder((folder or default_folder()).expanduser().resolve())
    try:
        pid = Lock(data).holder()
    except PermissionError:
        raise UpError(f"{data.path} belongs to another user; name your own folder with --dir") from None
    if pid is None:
        raise UpError(f"{data.path} is not up; start it with 'footplate up'")
    return data, pid


def _platform(data: DataFolder) -> Platform:
    platform = Platform.load(data)
    if platform is None:
        raise UpError(f"{data.path} is starting; try again in a moment")
    return platform


def _link(platform: Platform, notebook: str | None = None) -> str:
    """With accounts people log in by themselves; one person needs a link."""
    if platform.multi_user:
        return f"{platform.address}/"
    return make_link(platform.folder.login, platform.address, notebook)


def _is_up_already(error: AlreadyUpError, port: int | None, as_json: bool) -> int:
    platform = error.platform
    if platform is None:
        raise UpError(f"{error}, and is starting; try again in a moment")
    if port is not None and port != platform.ports.public:
        raise UpError(f"{error} on port {platform.ports.public}; to change it, run 'footplate down' first")
    link = _link(platform)
    values = {"dir": str(platform.folder.path), "up": True, "already": True, "link": link}
    _print(values, f"{error}; open it with\n  {link}", as_json=as_json)
    return 0


def _in_foreground(platform: Platform, lock: Lock, *, as_json: bool) -> int:
    from ..supervisor.supervise import Supervisor

    lock.write_pid()
    ready = functools.partial(_welcome, platform, as_json=as_json, detached=False)
    try:
        asyncio.run(Supervisor(platform, ready).run())
    finally:
        lock.release()
    return 0


def _welcome(platform: Platform, *, as_json: bool, detached: bool) -> None:
    link = _link(platform)
    values = {"dir": str(platform.folder.path), "up": True, "already": False, "link": link}
    stop = "footplate down" if detached else "Ctrl-C"
    once = (
        "" if platform.multi_user else " (it works once, within five minutes; 'footplate open' makes another)"
    )
    text = f"Footplate is up. Open{once}:\n  {link}\n{stop} stops it; running jobs go on."
    _print(values, text, as_json=as_json)
    sys.stdout.flush()


def _print(values: dict[str, Any], text: str, *, as_json: bool) -> None:
    click.echo(json.dumps(values) if as_json else text)


def _has_browser() -> bool:
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True

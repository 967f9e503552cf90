"""The programs of a platform: their arguments, environments and probes, as data.

No argument holds a secret: every local user can read the arguments of every process.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from ..jupyterhub.words import START
from .child import ChildSpec, Probe
from .folder import write_whole
from .platform import PREFIX, Platform

__all__ = ["SECRETS", "children", "clean_environment", "write_proxy_config"]

SECRETS = ("service_token", "supervisor_token", "proxy_password", "cookie_secret")

_BIN = Path(sys.executable).parent
# What we decide, and what a shell on a dev machine would hand on about itself.
_NOT_INHERITED = (
    "FOOTPLATE_BIND_HOST",
    "FOOTPLATE_BIND_PORT",
    "FOOTPLATE_CONFIG",
    "FOOTPLATE_DATA",
    "FOOTPLATE_DEV_OF",
    "FOOTPLATE_DIR",
    "FOOTPLATE_LAUNCHER",
    "FOOTPLATE_TOKEN",
    "FOOTPLATE_TOKEN_FILE",
    "FOOTPLATE_URL",
)


def clean_environment(environ: dict[str, str] | os._Environ[str] = os.environ) -> dict[str, str]:
    """What every child inherits: no variables of another platform, and our programs first."""
    kept = {
        name: value
        for name, value in environ.items()
        if name not in _NOT_INHERITED and not name.startswith(("JUPYTERHUB_", "JPY_"))
    }
    kept["PATH"] = os.pathsep.join([str(_BIN), kept.get("PATH", os.defpath)])
    return kept


def children(platform: Platform) -> list[ChildSpec]:
    """The programs, in the order in which they are stopped."""
    launcher = [_launcher(platform)] if platform.multi_user else []
    return [_service(platform), *launcher, _hub(platform), _proxy(platform)]


def write_proxy_config(platform: Platform) -> None:
    """Traefik's static configuration; the hub writes the routes, the API's password among them."""
    folder, ports = platform.folder, platform.ports
    rules = folder.proxy / "rules.toml"
    # Traefik's file provider never starts if its file is absent at its start.
    os.close(os.open(rules, os.O_WRONLY | os.O_CREAT, 0o600))
    public = {
        "address": f"{platform.host}:{ports.public}",
        # No time limit for uploads; and an open websocket holds a stop no longer than two seconds.
        "transport": {"respondingTimeouts": {"readTimeout": 0}, "lifeCycle": {"graceTimeOut": "2s"}},
    }
    config = {
        "api": {},
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "entryPoints": {"auth_api": {"address": f"127.0.0.1:{ports.proxy_api}"}, "http": public},
        "providers": {
            "providersThrottleDuration": "0s",
            "file": {"filename": str(rules), "watch": True},
        },
    }
    write_whole(folder.proxy / "traefik.yaml", json.dumps(config, indent=2))  # JSON is YAML


def _proxy(platform: Platform) -> ChildSpec:
    return ChildSpec(
        name="traefik",
        argv=[str(_BIN / "traefik"), f"--configFile={platform.folder.proxy / 'traefik.yaml'}"],
        env=clean_environment(),
        cwd=platform.folder.proxy,
        log=platform.folder.log / "traefik.log",
        port=platform.ports.public,
        # Without the password it answers 401, which shows that it works, whatever the hub does.
        probe=Probe(platform.ports.proxy_api, "/api/version"),
    )


def _hub(platform: Platform) -> ChildSpec:
    config = Path(__file__).parents[1] / "jupyterhub" / "config.py"
    return ChildSpec(
        name="hub",
        argv=[sys.executable, "-m", START, "jupyterhub", "-f", str(config)],
        env=clean_environment() | {"FOOTPLATE_DIR": str(platform.folder.path)},
        cwd=platform.folder.hub,
        log=platform.folder.log / "hub.log",
        port=platform.ports.hub,
        probe=Probe(platform.ports.hub, "/hub/health"),
    )


def _service(platform: Platform) -> ChildSpec:
    folder = platform.folder
    env = clean_environment() | {
        "FOOTPLATE_DATA": str(folder.service),
        "FOOTPLATE_URL": platform.service_url,
        "FOOTPLATE_BIND_HOST": "127.0.0.1",
        "FOOTPLATE_BIND_PORT": str(platform.ports.service),
        "JUPYTERHUB_SERVICE_NAME": "footplate",  # the access scope follows from it
        "JUPYTERHUB_SERVICE_PREFIX": PREFIX,
        "JUPYTERHUB_CLIENT_ID": "service-footplate",
        "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{PREFIX}oauth_callback",
        "JUPYTERHUB_API_URL": platform.hub_api,
        "JUPYTERHUB_API_TOKEN": folder.secret("service_token"),
    }
    if platform.config is not None:
        env["FOOTPLATE_CONFIG"] = str(platform.config)
    if platform.multi_user:
        env |= {"FOOTPLATE_LAUNCHER": str(platform.launcher_socket), "HOME": str(folder.service)}
    return ChildSpec(
        name="service",
        argv=[sys.executable, "-m", "footplate_hub.serve"],
        env=env,
        cwd=folder.service,
        log=folder.log / "service.log",
        port=platform.ports.service,
        probe=Probe(platform.ports.service, f"{PREFIX}healthz"),
        user=platform.service_user if platform.multi_user else None,
    )


def _launcher(platform: Platform) -> ChildSpec:
    return ChildSpec(
        name="launcher",
        argv=[
            sys.executable,
            "-m",
            "footplate_hub.launcher",
            "--socket",
            str(platform.launcher_socket),
            "--service-user",
            platform.service_user,
            "--users-root",
            str(platform.folder.users),
        ],
        env=clean_environment(),
        cwd=platform.folder.run,
        log=platform.folder.log / "launcher.log",
    )

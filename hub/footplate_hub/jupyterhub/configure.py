"""Everything that JupyterHub is told: who may log in, what their tokens may do, how dev machines start.

Promises: the hub may be killed at any time and takes dev machines and routes up again; a token of a notebook,
a browser session and the command line may use the service, and nothing else of the hub than they need.
"""

from __future__ import annotations

import base64
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

from ..settings import load_settings
from ..supervisor.folder import DataFolder
from ..supervisor.platform import Platform
from .words import ACCESS, ADMIN, START, SUBMIT, SUPERVISOR

__all__ = ["configure"]

# What a program on one's own machine expects to find; the rest of the hub's environment is the hub's.
_KEPT_VARIABLES = [
    "CURL_CA_BUNDLE",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PATH",
    "PIP_INDEX_URL",
    "PYTHONPATH",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "TZ",
    "UV_INDEX_URL",
    "VIRTUAL_ENV",
    "http_proxy",
    "https_proxy",
    "no_proxy",
]


def configure(c: Any, folder: Path) -> None:
    """Fill JupyterHub's configuration.

    Parameters
    ----------
    c
        The object that ``get_config()`` returns.
    folder
        The data folder, prepared by ``footplate up``.
    """
    platform = Platform.load(DataFolder(folder))
    if platform is None:
        raise FileNotFoundError(f"{folder} was not prepared; start the hub with 'footplate up'")
    _hub(c, platform)
    _proxy(c, platform)
    _scopes(c, platform)
    _dev_machines(c, platform)
    if platform.multi_user:
        _several_people(c)
    else:
        _one_person(c, platform)


def _hub(c: Any, platform: Platform) -> None:
    folder = platform.folder
    c.JupyterHub.bind_url = f"http://{platform.host}:{platform.ports.public}"
    c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{platform.ports.hub}"
    c.JupyterHub.db_url = f"sqlite:///{folder.hub / 'hub.sqlite'}"
    c.JupyterHub.cookie_secret_file = str(folder.hub / "cookie_secret")
    # Dev machines and routes outlive the hub.
    c.JupyterHub.cleanup_servers = False
    c.JupyterHub.cleanup_proxy = False


def _proxy(c: Any, platform: Platform) -> None:
    """Traefik is the supervisor's child; the hub only writes its routes."""
    c.JupyterHub.proxy_class = "traefik_file"
    proxy = c.TraefikFileProviderProxy
    proxy.should_start = False
    proxy.dynamic_config_file = str(platform.folder.proxy / "rules.toml")
    proxy.traefik_api_url = f"http://127.0.0.1:{platform.ports.proxy_api}"
    proxy.traefik_api_username = "hub"
    # What is in the routes' file wins over this, so it is made once and kept.
    password = platform.folder.secret("proxy_password")
    proxy.traefik_api_password = password
    proxy.traefik_api_hashed_password = _hashed(password)


def _hashed(secret: str) -> str:
    """An htpasswd entry that Traefik checks at once.

    The default, bcrypt, makes weak passwords dear to guess: a third of a second for every question that the
    hub asks, several a start of a dev machine. Our secret is random and too long to be guessed at any price.
    """
    return "{SHA}" + base64.b64encode(hashlib.sha1(secret.encode(), usedforsecurity=False).digest()).decode()


def _scopes(c: Any, platform: Platform) -> None:
    ours = [ACCESS, SUBMIT, ADMIN]
    c.JupyterHub.custom_scopes = {
        SUBMIT: {"description": "Start, change and stop jobs."},
        ADMIN: {"description": "Administer Footplate.", "subscopes": [SUBMIT]},
    }
    c.JupyterHub.extra_user_scopes = {ACCESS, SUBMIT}
    # Each asks for all of them and gets what its person has.
    c.Spawner.server_token_scopes = ["users:activity!user", "access:servers!server", *ours]
    c.Spawner.oauth_client_allowed_scopes = ours
    c.JupyterHub.services = [
        {
            "name": "footplate",
            "url": f"http://127.0.0.1:{platform.ports.service}",
            "api_token": platform.folder.secret("service_token"),
            "oauth_no_confirm": True,
            "oauth_client_allowed_scopes": [SUBMIT, ADMIN],
        },
        {"name": SUPERVISOR, "api_token": platform.folder.secret("supervisor_token")},
    ]
    tokens = [] if platform.multi_user else [f"tokens!user={platform.person}"]
    c.JupyterHub.load_roles = [
        {
            "name": SUPERVISOR,
            "services": [SUPERVISOR],
            "scopes": ["list:users", "read:servers", "delete:servers", *tokens],
        },
        {
            "name": "footplate-admin",
            "description": "Administers Footplate",
            "scopes": [ADMIN, ACCESS],
            "users": [] if platform.multi_user else [platform.person],
        },
    ]


def _dev_machines(c: Any, platform: Platform) -> None:
    c.Spawner.cmd = [sys.executable, "-m", START, "jupyterhub.singleuser"]
    c.Spawner.default_url = "/lab"
    c.Spawner.poll_interval = 5
    c.Spawner.start_timeout = 120
    c.Spawner.http_timeout = 120
    c.Spawner.env_keep = _KEPT_VARIABLES
    c.DevMachine.platform = str(platform.folder.path)
    c.DevMachine.service_url = platform.service_url
    c.DevMachine.log_folder = str(platform.folder.log)


def _one_person(c: Any, platform: Platform) -> None:
    person = platform.person
    c.JupyterHub.authenticator_class = "footplate_hub.jupyterhub.links.LinkAuthenticator"
    c.LinkAuthenticator.login = str(platform.folder.login)
    c.LinkAuthenticator.person = person
    c.Authenticator.allowed_users = {person}
    c.Authenticator.admin_users = {person}
    c.JupyterHub.spawner_class = "footplate_spawner.OwnDevMachine"
    c.Spawner.notebook_dir = str(platform.notebooks)
    if os.geteuid() == 0:
        c.Spawner.args = ["--allow-root"]
    groups = load_settings(platform.config, data=platform.folder.service).groups
    c.JupyterHub.load_groups = {group.name: {"users": [person]} for group in groups}


def _several_people(c: Any) -> None:
    """Accounts of this machine, unless the owner's file names another authenticator."""
    c.JupyterHub.authenticator_class = "pam"
    c.PAMAuthenticator.open_sessions = False
    # Whoever can log in to the machine may use it; the owner's file can narrow that.
    c.Authenticator.allow_all = True
    c.JupyterHub.spawner_class = "footplate_spawner.AccountDevMachine"

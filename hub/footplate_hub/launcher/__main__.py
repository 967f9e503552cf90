"""``python -m footplate_hub.launcher --socket PATH --service-user NAME --users-root DIR``, as root."""

import argparse
import os
from pathlib import Path

from .server import Launcher

parser = argparse.ArgumentParser("footplate_hub.launcher", description="Starts people's jobs as themselves.")
parser.add_argument("--socket", type=Path, required=True, help="where the service asks")
parser.add_argument("--service-user", required=True, help="the account that the service runs as")
parser.add_argument("--users-root", type=Path, required=True, help="folder of people's folders")
options = parser.parse_args()
if os.geteuid() != 0:
    raise SystemExit("The launcher must be started as root.")
Launcher(options.socket.absolute(), options.service_user, options.users_root.absolute()).serve()

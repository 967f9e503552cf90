"""A replica as a pod: its folder is the pod's own, and its keeper the container's first process.

The engine mounts what every pod of a role needs, and Kubernetes says which replica this one is. A pod that
was made again finds an empty folder, so its agent asks the service whether, and what, it may execute.
"""

from __future__ import annotations

import json
import os

from .folder import write_atomic
from .keeper import keep

__all__ = ["be_replica"]


def be_replica(mounted: str) -> int:
    """Be the keeper of the replica that this pod is; ``mounted`` has its start and tokens."""
    os.umask(0o077)
    with open(os.path.join(mounted, "start.json"), encoding="utf-8") as file:
        start = json.load(file)
    index = int(os.environ["FOOTPLATE_POD_INDEX"]) + int(os.environ["FOOTPLATE_POD_OFFSET"])
    with open(os.path.join(mounted, f"token-{index}"), encoding="ascii") as file:
        token = file.read().strip()
    start.update(
        replica=index,
        token=token,
        holder=os.environ["FOOTPLATE_POD_UID"],
        node=os.environ["FOOTPLATE_POD_NODE"],
        address=os.environ["FOOTPLATE_POD_IP"],
    )
    folder = os.path.join(start["run"], start["attempt"], f"{start['role']}-{index}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    write_atomic(os.path.join(folder, "start.json"), json.dumps(start).encode())
    return keep(folder)

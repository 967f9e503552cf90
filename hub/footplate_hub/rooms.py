"""Everything that a request may need, made once and handed to the routers."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from .blobs import Blobs
from .bus import EventBus
from .control import Control
from .identity import Identity
from .logs import Logs
from .metrics import Metrics
from .sealing import Sealing
from .settings import Settings
from .store import Database
from .tokens import ReplicaTokens

__all__ = ["Rooms"]


@dataclass
class Rooms:
    """The service's parts.

    Parameters
    ----------
    kept_trees
        Owners and digests of trees whose files were found to be the owner's, newest last.
    in_line
        At most so many jobs of each person wait or run: the last count, and what was submitted since.
    """

    settings: Settings
    database: Database
    bus: EventBus
    blobs: Blobs
    logs: Logs
    metrics: Metrics
    sealing: Sealing
    tokens: ReplicaTokens
    identity: Identity
    control: Control
    kept_trees: OrderedDict[tuple[str, str], None] = field(default_factory=OrderedDict)
    in_line: dict[str, int] = field(default_factory=dict)

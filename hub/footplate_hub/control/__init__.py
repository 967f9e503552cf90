"""The loops that move the world: dispatcher, reconciler, and the answers that agents get."""

from .context import Refused, ReplicaContext
from .control import Control

__all__ = ["Control", "Refused", "ReplicaContext"]

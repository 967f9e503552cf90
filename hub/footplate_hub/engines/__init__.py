"""What starts replicas where: the protocol of an engine, and one folder an engine."""

from .base import Attempt, Complaint, Engine, EngineError, NodesChanged, Observation, PlacedReplica
from .choice import check_engines, make_engine

__all__ = [
    "Attempt",
    "Complaint",
    "Engine",
    "EngineError",
    "NodesChanged",
    "Observation",
    "PlacedReplica",
    "check_engines",
    "make_engine",
]

"""What starts replicas where: the protocol of an engine, and one folder an engine."""

from .base import Attempt, Engine, EngineError, Observation, PlacedReplica

__all__ = ["Attempt", "Engine", "EngineError", "Observation", "PlacedReplica"]

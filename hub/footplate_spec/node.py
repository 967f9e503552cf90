"""Machines of a cluster."""

from __future__ import annotations

from pydantic import Field

from .base import Answer
from .taints import Taint

__all__ = ["Node"]


class Node(Answer):
    """A machine, what it has and what is in use.

    Parameters
    ----------
    cpu, memory, gpu
        Capacity: thousandths of a core, bytes, whole devices.
    declared
        The GPUs are a number in the configuration without devices behind it.
    advisory
        CPU and memory are watched, not enforced: the machine gives no control groups.
    levels
        Where it stands, from the outside in: a hall, a rack.
    taints
        Only jobs that tolerate all of them may start there.
    extended
        Other countable things that it has, by their names: ``{"rdma/hca": 8}``.
    blocked
        Why nothing starts there, if so.
    draining
        It is blocked for what is new only: what runs there goes on to its end.
    """

    cluster: str
    name: str
    flavor: str
    cpu: int
    memory: int
    gpu: int = 0
    gpu_model: str | None = None
    declared: bool = False
    advisory: bool = False
    address: str = "127.0.0.1"
    labels: dict[str, str] = Field(default_factory=dict)
    levels: list[str] = Field(default_factory=list)
    taints: list[Taint] = Field(default_factory=list)
    extended: dict[str, int] = Field(default_factory=dict)
    ready: bool = True
    blocked: str | None = None
    draining: bool = False
    used_cpu: int = 0
    used_memory: int = 0
    used_gpu: int = 0

"""A whole cluster: control plane, one node and the images, or many fake nodes; nothing is left behind."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import images, tools
from .engines import Engines
from .kwok import start_kwok
from .node import start_node, tidy_cgroups
from .plane import ADDRESS, Plane

__all__ = ["Whole", "fake_cluster", "whole_cluster"]


@dataclass
class Whole:
    """A cluster that runs."""

    plane: Plane
    engines: Engines

    def reach(self, port: int) -> tuple[str, subprocess.Popen[bytes]]:
        """Where pods find a loopback port of this machine, and the relay that leads there."""
        relay = self.plane.relay(self.plane.machine.pid, ADDRESS, port, 0, "127.0.0.1", port)
        return f"{ADDRESS}:{port}", relay


@contextmanager
def whole_cluster() -> Iterator[Whole]:
    """Start one; its programs are compiled first where they are not there."""
    tools.build()
    folder, port = _place()
    made = [folder / "pause.tar", folder / "python.tar"]
    images.make_pause(made[0])
    images.make_python(made[1])
    plane = Plane(folder / "cluster", port)
    engines, nodes = Engines(plane), []
    try:
        plane.start()
        nodes.append(start_node(plane, 1, made, gpus=4))
        yield Whole(plane, engines)
    finally:
        engines.end()
        for node in nodes:
            node.end()
        plane.end()
        tidy_cgroups(port)
        shutil.rmtree(folder)


@contextmanager
def fake_cluster(nodes: int, gpus: int) -> Iterator[Whole]:
    """Start a real control plane whose nodes are KWOK's: their pods run, and nothing in them."""
    tools.build(("etcd", "kubernetes", "coredns", "kwok"))
    folder, port = _place()
    plane = Plane(folder / "cluster", port)
    engines = Engines(plane)
    try:
        plane.start()
        start_kwok(plane, nodes, gpus)
        yield Whole(plane, engines)
    finally:
        engines.end()
        plane.end()
        shutil.rmtree(folder)


def _place() -> tuple[Path, int]:
    """A folder, and a port for the API."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return Path(tempfile.mkdtemp(prefix="fpk-")), free.getsockname()[1]

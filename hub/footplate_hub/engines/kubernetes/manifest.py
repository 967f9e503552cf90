"""What goes over the wire to a Kubernetes API."""

from __future__ import annotations

from typing import Any

__all__ = ["Manifest"]

Manifest = dict[str, Any]

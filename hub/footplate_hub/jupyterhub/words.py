"""Names that the hub, the supervisor and dev machines agree on."""

from __future__ import annotations

__all__ = ["ACCESS", "ADMIN", "DEV_MARK", "START", "SUBMIT", "SUPERVISOR"]

ACCESS = "access:services!service=footplate"
"""Scope: one may talk to the service at all."""

SUBMIT = "custom:footplate:submit"
"""Scope: one may start, change and stop jobs."""

ADMIN = "custom:footplate:admin"
"""Scope: one administers the platform."""

START = "footplate_hub.jupyterhub.start"
"""Module that starts a program of JupyterHub, hub or dev machine."""

SUPERVISOR = "supervisor"
"""The hub's service as which the supervisor stops dev machines."""

DEV_MARK = "FOOTPLATE_DEV_OF"
"""Variable that every process of a dev machine carries: the data folder of its platform."""

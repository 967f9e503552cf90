"""Dev machines: how a person's JupyterLab starts, survives and ends."""

from .local import AccountDevMachine, DevMachine, OwnDevMachine

__all__ = ["AccountDevMachine", "DevMachine", "OwnDevMachine"]

"""Runs attempts as pods of a Kubernetes cluster."""

from .engine import KubernetesEngine

__all__ = ["KubernetesEngine"]

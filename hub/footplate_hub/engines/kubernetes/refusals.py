"""What a Kubernetes API's no means: whether the job waits for somebody to mend it, or fails. Pure."""

from __future__ import annotations

from collections.abc import Callable

from footplate_spec import CauseCode

from ..base import EngineError
from .api import ApiError, Gone

__all__ = ["refusal"]

_AWAY = {0, 429, 500, 502, 503, 504}
_WAITING: tuple[tuple[Callable[[int, str], bool], str], ...] = (
    (
        lambda status, _: status in _AWAY,
        "Cluster {cluster} does not answer ({told}); the job starts there once it does.",
    ),
    (
        lambda status, _: status == 401,
        "Cluster {cluster} does not know the service any more ({told}); "
        "its administrator renews the kubeconfig.",
    ),
    (
        lambda _, told: "exceeded quota" in told,
        "The quota of namespace {namespace} on cluster {cluster} has no room for it: {told}.",
    ),
    (
        lambda _, told: "being terminated" in told,
        "Namespace {namespace} on cluster {cluster} is being removed; its administrator makes it again.",
    ),
    (  # Volcano's webhook, as long as a queue is closed
        lambda _, told: "denied the request" in told and "queue" in told and "Open" in told,
        "The queue of cluster {cluster} is not open: {told}.",
    ),
    (
        lambda status, told: status == 403 and "denied the request" not in told,
        "The service may not do this on cluster {cluster}; its administrator allows it: {told}.",
    ),
    (
        lambda status, told: status == 404 and told.startswith("namespaces "),
        "Cluster {cluster} has no namespace {namespace}; its administrator makes it.",
    ),
    (
        lambda status, _: status == 404,
        "Cluster {cluster} does not know a kind that its engine makes ({told}); "
        "its administrator installs the engine's controller, or sets another engine.",
    ),
)


def refusal(error: ApiError | Gone, cluster: str, namespace: str) -> EngineError:
    """The sentence for whoever owns what was to be created.

    What an administrator can mend is waited for; what is wrong with the objects themselves, or what a webhook
    of the cluster does not want, fails the job.
    """
    status = error.status if isinstance(error, ApiError) else 0
    told = str(error).rstrip(".")
    for means, sentence in _WAITING:
        if means(status, told):
            return EngineError(sentence.format(cluster=cluster, namespace=namespace, told=told), waits=True)
    again = status not in {400, 413, 422, 403}
    message = f"Cluster {cluster} did not take the job: {told}."
    return EngineError(message, code=CauseCode.PLATFORM_FAULT, again=again)

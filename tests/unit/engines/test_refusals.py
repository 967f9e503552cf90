"""What a cluster's no means for a job."""

from __future__ import annotations

import pytest

from footplate_hub.engines.kubernetes.api import ApiError, Gone
from footplate_hub.engines.kubernetes.refusals import refusal

QUEUE = (
    'admission webhook "validatejob.volcano.sh" denied the request: can only submit job to queue with state '
    "`Open`, queue `default` status is `Closed`."
)
POLICY = 'admission webhook "images.example.com" denied the request: images come from our own registry'
QUOTA = 'pods "x" is forbidden: exceeded quota: small, requested: cpu=2, used: cpu=3, limited: cpu=4'
ENDING = (
    'jobs.batch "x" is forbidden: unable to create new content in namespace fp because it is being terminated'
)
RIGHTS = 'jobs.batch is forbidden: User "footplate" cannot create resource "jobs" in API group "batch"'


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ApiError(0, "", "the Kubernetes API does not answer: refused"), "Cluster east does not answer"),
        (ApiError(503, "", "etcd leader changed"), "does not answer (etcd leader changed); the job starts"),
        (Gone(), "does not answer"),
        (ApiError(401, "Unauthorized", "Unauthorized"), "its administrator renews the kubeconfig."),
        (ApiError(403, "Forbidden", QUOTA), "The quota of namespace fp on cluster east has no room for it"),
        (ApiError(403, "Forbidden", ENDING), "Namespace fp on cluster east is being removed"),
        (ApiError(400, "", QUEUE), "The queue of cluster east is not open"),
        (ApiError(403, "Forbidden", RIGHTS), "The service may not do this on cluster east"),
        (ApiError(404, "NotFound", 'namespaces "fp" not found'), "Cluster east has no namespace fp"),
        (
            ApiError(404, "NotFound", "the server could not find the requested resource"),
            "does not know a kind that its engine makes",
        ),
    ],
)
def test_what_an_administrator_can_mend_is_waited_for(error, sentence):
    said = refusal(error, "east", "fp")
    assert said.waits
    assert sentence in str(said)


@pytest.mark.parametrize(
    "error",
    [
        ApiError(403, "Forbidden", POLICY),
        ApiError(400, "BadRequest", POLICY),
        ApiError(422, "Invalid", "spec.x: Invalid value"),
        ApiError(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728"),
    ],
)
def test_what_is_wrong_with_the_job_fails_it(error):
    said = refusal(error, "east", "fp")
    assert (said.waits, said.again) == (False, False)
    assert str(said) == f"Cluster east did not take the job: {str(error).rstrip('.')}."

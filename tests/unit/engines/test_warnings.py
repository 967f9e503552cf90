"""Why an object brings forth no pod, as controllers tell it."""

from __future__ import annotations

import pytest

from footplate_hub.engines.kubernetes.warnings import complaint, whose

QUOTA = 'Error creating: pods "job-1-a1-worker-0-x" is forbidden: exceeded quota: small'


def event(kind, name, reason, message, type_="Warning"):
    about = {"kind": kind, "name": name}
    return {"type": type_, "reason": reason, "message": message, "involvedObject": about}


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (
            event("Job", "job-1-a1-worker", "FailedCreate", QUOTA),
            ("job-1-a1-worker", f"Kubernetes has not made its pod: {QUOTA}."),
        ),
        (event("PodGroup", "podgroup-1", "Unschedulable", "0/0 tasks in gang unschedulable."), None),
        (event("Pod", "job-1-a1-worker-0", "FailedScheduling", "0/1 nodes"), None),
        (event("Job", "job-1-a1-worker", "SuccessfulCreate", "made", "Normal"), None),
        (event("PyTorchJob", "job-1-a1", "SettedPodTemplateRestartPolicy", "overwritten"), None),
        ({"type": "Warning"}, None),
    ],
)
def test_what_is_told_of_a_warning(seen, told):
    assert complaint(seen) == told


def test_a_child_belongs_to_whom_it_is_named_after():
    made = {"job-1-a1-worker": "mine", "job-1": "another"}
    assert whose("job-1-a1-worker", made) == "mine"
    assert whose("job-1-a1-worker-node-0", made) == "mine"
    assert whose("job-2", made) is None
    assert whose("", made) is None

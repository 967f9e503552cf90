"""States, reasons and their order."""

from __future__ import annotations

import pytest

from footplate_spec import JOB_FINAL, JobState, Reason, ReasonCode, dominant, may_follow


def test_nothing_follows_a_final_state():
    assert not any(may_follow(state, following) for state in JOB_FINAL for following in JobState)


def test_a_preempted_job_goes_back_to_the_queue():
    assert may_follow(JobState.RUNNING, JobState.QUEUED)
    assert not may_follow(JobState.QUEUED, JobState.RUNNING)


def test_the_dominant_reason_carries_the_others_in_order():
    reasons = [
        Reason(code=ReasonCode.WAITING_FOR_CAPACITY, message="c"),
        Reason(code=ReasonCode.NODES_EXCLUDED, message="a"),
        Reason(code=ReasonCode.WAITING_FOR_QUOTA, message="b"),
    ]

    first = dominant(reasons)

    assert (first.message, [cause.message for cause in first.causes]) == ("a", ["b", "c"])


def test_waiting_without_a_reason_is_a_defect():
    with pytest.raises(ValueError, match="must have a reason"):
        dominant([])

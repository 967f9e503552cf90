"""Sweeps and jobs that wait for others, from a notebook to real processes and back."""

from __future__ import annotations

import pytest

import footplate as fp
from footplate.errors import JobCancelledError


def test_a_function_runs_over_a_grid_and_its_results_come_in_order(here):
    def area(width, height):
        return width * height

    sweep = fp.map(area, {"width": [1, 2], "height": [10, 20]}, at_once=2, workspace=None)

    assert sweep.result(60) == [10, 20, 20, 40]
    assert [run.last_seen.index for run in sweep.runs()] == [0, 1, 2, 3]
    assert sweep.last_seen.array.succeeded == 4
    [row] = [job for job in fp.jobs() if sweep.id in {job.id, job.last_seen.parent}]
    assert row.id == sweep.id


def test_a_sweep_of_a_command_finds_its_values_in_its_environment(here):
    sweep = fp.submit("echo lr=$FOOTPLATE_PARAM_LR", grid={"lr": [0.1, 0.01]}, workspace=None).wait(60)

    assert [run.logs().strip() for run in sweep.runs()] == ["lr=0.1", "lr=0.01"]


def test_a_job_starts_after_another_and_is_told_when_that_can_never_be(here):
    good = fp.submit("sleep 0.2", workspace=None)
    after = fp.submit("echo then", after=good, workspace=None)
    bad = fp.submit("sleep 0.2; exit 3", workspace=None)
    never = fp.submit("true", after=bad, workspace=None)

    assert after.wait(60).logs() == "then\n"
    with pytest.raises(JobCancelledError, match=f"{bad.id} failed|waited for failed"):
        never.result(60)
    assert f"{bad.id} failed" in never.why().sentence

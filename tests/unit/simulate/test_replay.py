"""What a replay makes happen, and what it counts."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from footplate_hub.commands.simulate import simulate
from footplate_hub.queue.model import Policy
from footplate_hub.simulate.reading import read
from footplate_hub.simulate.replay import replay
from footplate_hub.simulate.report import report

JOBS = "id,submit,duration,replicas,gpu,time_limit,priority,checkpoint\n"
NODE = "name,cpu,memory,gpu,outages\n"


@pytest.fixture
def run(tmp_path):
    def run(jobs: str, nodes: str = "n,64,64Gi,8,\n", policy: Policy = Policy()):  # noqa: B008
        (tmp_path / "jobs.csv").write_text(JOBS + jobs)
        (tmp_path / "nodes.csv").write_text(NODE + nodes)
        return replay(read(tmp_path / "jobs.csv"), policy)

    return run


def test_jobs_run_for_as_long_as_they_take_and_wait_for_room(run):
    result = run("a,0,100,1,8,1h,,\nb,10,50,1,8,1h,,\n")
    assert [(job.first, job.ended) for job in result.jobs.values()] == [(0, 100), (100, 150)]
    numbers = report(result)
    assert (numbers.waits.mean, numbers.waits.longest, numbers.gang_waits.jobs) == (45, 90, 2)
    assert numbers.makespan == 150
    assert numbers.utilisation == 1
    assert sum(numbers.waiting_by_reason.values()) == pytest.approx(90 / 3600)
    assert numbers.load == pytest.approx(150 * 8 / (10 * 8))


def test_a_job_longer_than_its_limit_is_ended_by_it(run):
    result = run("a,0,100,1,8,50,,\n")
    assert result.jobs["a"].ended == 50
    assert report(result).over_limit == 1


def test_a_lost_node_costs_what_was_not_saved_and_the_job_runs_again(run):
    nodes = "n,64,64Gi,8,105-200\n"
    lost = run("a,0,150,1,8,1h,,\n", nodes)
    assert (lost.jobs["a"].ended, report(lost).lost_gpu_hours) == (350, pytest.approx(105 * 8 / 3600))
    saved = run("a,0,150,1,8,1h,,50\n", nodes)
    assert (saved.jobs["a"].ended, report(saved).lost_gpu_hours) == (250, pytest.approx(5 * 8 / 3600))
    assert report(saved).goodput < report(saved).utilisation


@pytest.mark.parametrize(("checkpoint", "lost"), [("", 160), ("50", 0)])
def test_a_preempted_job_stops_after_its_grace_and_goes_on_from_what_it_saved(run, checkpoint, lost):
    jobs = f"low,0,200,1,8,1h,low,{checkpoint}\nhigh,100,40,1,8,1h,high,\n"
    result = run(jobs)
    low, high = result.jobs["low"], result.jobs["high"]
    assert (high.first, high.ended) == (160, 200)
    assert low.ended == (400 if lost else 240)
    assert (report(result).preemptions, low.workload.place) == (1, 0)
    assert report(result).lost_gpu_hours == pytest.approx(lost * 8 / 3600)


def test_a_job_that_fits_nowhere_is_counted_with_its_reason(run):
    result = run("a,0,10,1,16,1h,,\nb,5,10,1,1,1h,,\n")
    assert result.jobs["a"].first is None
    assert report(result).never == {"NoMatchingFlavor": 1}
    assert result.jobs["b"].ended == 15


def test_free_gpus_beside_used_ones_are_fragments(run):
    result = run("a,0,100,1,4,1h,,\nb,100,1,1,1,1h,,\n", "n,64,64Gi,8,\nm,64,64Gi,8,\n")
    assert report(result).fragmentation == pytest.approx(4 / 12)


def test_a_replay_says_the_same_twice(run):
    jobs = "".join(f"j{n},{n * 7 % 50},{n * 13 % 90 + 1},{n % 3 + 1},{n % 3},1h,,\n" for n in range(60))
    first, second = run(jobs), run(jobs)
    assert report(first) == report(second)
    assert all(job.ended is not None for job in first.jobs.values())


def test_the_command_prints_numbers_or_json_and_draws(tmp_path, run):
    run("a,0,100,1,8,1h,,\nb,10,50,1,8,1h,,\n")
    words = CliRunner().invoke(simulate, [str(tmp_path / "jobs.csv")])
    assert words.exit_code == 0, words.output
    assert "2 jobs on 1 nodes with 8 GPUs, offered load 15.00; fifo" in words.output
    assert "mean 45s, p50 0s, p95 1m30s" in words.output
    picture = tmp_path / "out.svg"
    answer = CliRunner().invoke(
        simulate, [str(tmp_path / "jobs.csv"), "--no-backfill", "--json", "--plot", str(picture)]
    )
    numbers = json.loads(answer.output)
    assert (numbers["policy"], numbers["waits"]["mean"]) == ("fifo, no backfill", 45)
    assert "<svg" in picture.read_text()


def test_the_command_takes_quotas_from_a_footplate_yaml(tmp_path, run):
    run("a,0,100,1,4,1h,,\nb,10,50,1,4,1h,,\n")
    (tmp_path / "footplate.yaml").write_text(
        "groups:\n- name: default\n  quotas: [{cluster: local, flavor: gpu, gpu: 4}]\n"
    )
    words = [str(tmp_path / "jobs.csv"), "--json", "--settings", str(tmp_path / "footplate.yaml")]
    call = CliRunner().invoke(simulate, words, standalone_mode=False)
    assert "no quota for the trace's nodes, which are trace/gpu" in call.output
    (tmp_path / "nodes.csv").write_text("name,cluster,cpu,memory,gpu\nn,local,64,64Gi,8\n")
    numbers = json.loads(CliRunner().invoke(simulate, words).output)
    assert (numbers["waits"]["longest"], list(numbers["waiting_by_reason"])) == (90, ["WaitingForQuota"])
    (tmp_path / "footplate.yaml").write_text("groups:\n- name: default\n  quota: []\n")
    call = CliRunner().invoke(simulate, words, standalone_mode=False)
    assert (call.return_value, "footplate.yaml line" in call.output) == (2, True)


def test_the_command_refuses_in_one_sentence(tmp_path, run, monkeypatch):
    run("a,0,100,1,8,1h,,\n")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "matplotlib.figure", None)
        words = [str(tmp_path / "jobs.csv"), "--plot", str(tmp_path / "out.png")]
        call = CliRunner().invoke(simulate, words, standalone_mode=False)
    assert (call.return_value, "pip install 'footplate[plot]'" in call.output) == (2, True)
    call = CliRunner().invoke(
        simulate, [str(tmp_path / "jobs.csv"), "--plot", "out.bmp"], standalone_mode=False
    )
    assert call.return_value == 2
    assert "out.bmp is no picture that can be made" in call.output
    call = CliRunner().invoke(simulate, [str(tmp_path / "absent.csv")], standalone_mode=False)
    assert call.return_value == 2
    assert call.output.startswith("footplate: ")
    assert call.output.count("\n") == 1


def test_fair_shares_are_counted_in_simulated_time(tmp_path):
    (tmp_path / "nodes.csv").write_text("name,cpu,memory,gpu\nn,64,64Gi,8\n")
    (tmp_path / "jobs.csv").write_text(
        "id,submit,duration,gpu,group,time_limit\n"
        "first,0,100,8,heavy,1h\nsecond,50,10,8,heavy,1h\nlight,60,10,8,light,1h\n"
    )
    trace = read(tmp_path / "jobs.csv")
    starts = {
        order: {name: job.first for name, job in replay(trace, Policy(order)).jobs.items()}
        for order in ("fifo", "fair_share")
    }
    assert starts["fifo"] == {"first": 0, "second": 100, "light": 110}
    assert starts["fair_share"] == {"first": 0, "second": 110, "light": 100}

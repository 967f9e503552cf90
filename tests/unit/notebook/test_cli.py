"""The command line as a shell runs it: output, JSON, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from footplate.cli import main
from support.notebook import TOKEN

FOOTPLATE = str(Path(sys.executable).with_name("footplate"))


class Ended:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(client, capfd):
    def call(*words: str) -> Ended:
        with pytest.raises(SystemExit) as left:
            main(words)
        told = capfd.readouterr()
        return Ended(int(left.value.code or 0), told.out, told.err)

    return call


def test_a_script_runs_and_its_output_is_all_there_is_on_stdout(run, here, service):
    (here / "train.py").write_text("import sys; print('args', sys.argv[1:])\n")

    ended = run("train", "--gpus", "1", "train.py", "--gpus", "2", "-d")

    assert ended.code == 0
    assert ended.out == "args ['--gpus', '2', '-d']\n"
    assert "sending 1 file" in ended.err
    assert service.specs[0]["command"] == ["python", "train.py", "--gpus", "2", "-d"]


def test_programs_shell_scripts_and_executables_run_as_they_are(run, here, service):
    (here / "run.sh").write_text("echo shell $1\n")
    (here / "tool").write_text("#!/bin/sh\necho tool $1\n")
    (here / "tool").chmod(0o755)
    (here / "sub").mkdir()
    (here / "sub" / "t.py").write_text("print('sub')\n")

    assert run("train", "run.sh", "1").out == "shell 1\n"
    assert run("train", "tool", "2").out == "tool 2\n"
    assert run("train", "echo", "3").out == "3\n"
    assert run("train", "--workspace", "sub", "sub/t.py").out == "sub\n"
    assert run("train", "--no-workspace", "sub/t.py").out == "sub\n"


def test_a_failed_job_is_exit_code_1_with_its_cause(run, here):
    (here / "fail.py").write_text("import sys; print('so far'); sys.exit(7)\n")

    ended = run("train", "fail.py")

    assert (ended.code, ended.out) == (1, "so far\n")
    assert ended.err.endswith("failed: the program ended with exit code 7\n")


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["train", "none.py"], 2, "there is no none.py in"),
        (["train", "--gpu", "1", "x.py"], 2, "there is no option --gpu; did you mean --gpus?"),
        (["train", "--gpus", "-1", "true"], 2, "gpus must be 0 or more"),
        (["train", "--group", "secret-club", "true"], 3, "you are not in the group secret-club"),
        (["trian"], 2, "there is no verb trian; did you mean train?"),
        (["train"], 2, "Missing argument"),
        (["why", "nothing-7k3f9m"], 4, "there is no why here"),
        (["jobs", "--state", "asleep"], 2, "'asleep' is not one of"),
        (["nodes", "block", "node-1"], 2, "Missing option '--why'"),
        (["nodes", "block", "node-9", "--why", "x"], 4, "there is no block here"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_one_sentence_and_an_exit_code(run, words, code, sentence):
    ended = run(*words)

    assert ended.code == code
    assert ended.out == ""
    assert ended.err.startswith("footplate: ")
    assert (sentence in ended.err) or words[0] == "why"
    assert len(ended.err.splitlines()) == 1


def test_every_verb_speaks_json(run, here, service):
    (here / "t.py").write_text("print('hi')\n")
    job = json.loads(run("train", "-d", "--json", "t.py").out)["id"]
    run("attach", job)

    assert json.loads(run("jobs", "--json").out)[0]["id"] == job
    assert json.loads(run("logs", job, "--json").out)["text"] == "hi\n"
    assert json.loads(run("why", job, "--json").out)["job"] == job
    assert json.loads(run("quota", "--json").out)[0]["limit"] == {"gpu": 8}
    assert "80% of 10 starts were inside their range, 1 before it, 1 after it" in run("quota", "--eta").out
    assert json.loads(run("quota", "--eta", "--json").out)["median_error"] == 60
    assert json.loads(run("nodes", "--json").out)[0]["name"] == "node-1"
    assert json.loads(run("secrets", "--json").out) == []
    assert json.loads(run("stop", job, "--json").out)["id"] == job
    assert {check["check"] for check in json.loads(run("doctor", "--json").out)} > {"python", "platform"}
    items = [json.loads(line) for line in run("attach", job, "--json").out.splitlines()]
    assert items[-1]["kind"] == "end"


def test_a_script_is_checked_and_nothing_is_queued_or_sent(run, here, service):
    (here / "t.py").write_text("print('hi')\n")

    now, never = run("check", "--gpus", "2", "t.py"), run("check", "--gpus", "1", "--replicas", "9", "t.py")

    assert (now.code, now.out) == (0, "2 GPUs: now\n")
    assert (never.code, never.out) == (1, "9 GPUs: never\n  - 1 replica instead of 9: starts now\n")
    assert json.loads(run("check", "--json", "t.py").out)["starts"] == "now"
    assert service.jobs == {}
    assert service.blobs == {}


def test_why_tells_what_would_help_and_applies_it(run, service):
    fix = {"kind": "time_limit", "sentence": "a time limit of 1h: starts now", "change": {"time_limit": 3600}}
    service.hold = {"sentence": "It waits.", "fixes": [fix]}
    job = run("train", "-d", "--no-workspace", "true").out.strip()

    assert run("why", job).out == (
        f"It waits.\n  1. a time limit of 1h: starts now\n(footplate why --apply N {job} makes change N)\n"
    )
    assert run("why", "--apply", "1", job).out == f"{job}: a time limit of 1h: starts now\n"
    assert service.jobs[job].spec.time_limit == 3600
    assert "there is 1 change to make" in run("why", "--apply", "2", job).err


def test_a_queued_job_is_edited_and_a_finished_one_deleted(run, service):
    service.hold = {"sentence": "held"}
    job = run("train", "-d", "--no-workspace", "true").out.strip()

    assert run("jobs", "edit", job, "--priority", "high", "--gpus", "2", "--time", "3h").code == 0
    spec = service.jobs[job].spec
    assert (spec.priority, spec.roles[0].resources.gpu, spec.time_limit) == ("high", 2, 10800)
    assert run("jobs", "edit", job, "--topology", "rack", "--node-label", "disk=ssd").code == 0
    assert run("jobs", "edit", job, "--topology", "node").code == 0
    placement = service.jobs[job].spec.placement
    assert (placement.topology, placement.nodes) == ("node", {"disk": "ssd"})
    assert "topology: " in run("jobs", "edit", job, "--topology", "moon").err
    assert run("jobs", "extend", job, "+1h").code == 0
    assert service.jobs[job].spec.time_limit == 86400 + 3600
    assert run("jobs", "move", job, "research/audio").code == 0
    assert service.jobs[job].spec.group == "research/audio"
    assert "suspended" in run("jobs", "suspend", job).out
    assert "queued" in run("jobs", "resume", job).out
    assert "nothing to change" in run("jobs", "edit", job).err
    assert "cancelled" in run("stop", job).out
    assert run("jobs", "delete", job).out == f"deleted {job}\n"
    assert run("jobs").out == "none\n"


def test_groups_and_clusters_are_held_and_released(run, service):
    assert (
        run("quota", "hold", "research/vision", "--why", "audit").out == "held group research/vision: audit\n"
    )
    assert run("quota", "hold", "local").out == "held cluster local: maintenance\n"
    assert service.held == {("groups", "research/vision"): "audit", ("clusters", "local"): "maintenance"}
    assert run("quota", "release", "research/vision").code == 0
    assert run("quota", "release", "--cluster", "local").out == "released cluster local\n"
    assert service.held == {}
    assert run("quota", "release", "research/audio").code == 4


def test_a_quota_is_set_and_reset(run, service):
    assert run("quota", "set", "research/vision", "h100", "--gpu", "8", "--borrow", "gpu=4").code == 0
    assert run("quota", "set", "research/vision", "h100", "--memory", "1Ti", "--borrow", "gpu=none").code == 0
    assert service.groups["research/vision"] == {
        "name": "research/vision",
        "quotas": [{"flavor": "h100", "gpu": 8, "memory": 2**40}],
        "time_limit": 3600,
    }
    assert "nothing to change" in run("quota", "set", "research/vision", "h100").err
    assert "write gpu=4" in run("quota", "set", "research/vision", "h100", "--lend", "tpu=1").err
    assert (
        "has a lending_limit for cpu" in run("quota", "set", "research/vision", "a100", "--lend", "cpu=1").err
    )
    assert run("quota", "policy", "research/vision", "--order", "fair_share", "--no-backfill").code == 0
    assert service.groups["research/vision"]["policy"] == {"order": "fair_share", "backfill": False}
    assert run("quota", "budget", "research/vision", "--gpu-hours", "1000", "--period", "week").code == 0
    assert run("quota", "budget", "research/vision", "--cost", "50").code == 0
    assert service.groups["research/vision"]["budget"] == {"gpu_hours": 1000, "cost": 50, "period": "week"}
    assert "nothing to change" in run("quota", "budget", "research/vision").err
    assert "gpu_hours" in run("quota", "budget", "research/vision", "--gpu-hours", "many").err
    assert run("quota", "budget", "research/vision", "--gpu-hours", "none", "--cost", "none").code == 0
    assert "budget" not in service.groups["research/vision"]
    assert "needs gpu_hours or cost" in run("quota", "budget", "research/vision", "--period", "day").err
    assert json.loads(run("quota", "--budgets", "--json").out) == []
    assert run("quota", "reset", "research/vision").out == "reset research/vision\n"
    assert run("quota", "set", "research/vision", "h100", "--gpu", "8").code == 4


def test_priorities_and_a_clusters_policy_are_changed_and_reset(run, service):
    assert run("quota", "priorities").out == "high  100\nnormal  0\nlow  -100\n"
    changed = run("quota", "priorities", "urgent=200", "low=none", "--json")
    assert json.loads(changed.out) == {"priorities": {"normal": 0, "high": 100, "urgent": 200}}
    assert "as in urgent=200" in run("quota", "priorities", "urgent").err
    assert "whole number" in run("quota", "priorities", "urgent=very").err
    assert "must contain 'normal'" in run("quota", "priorities", "normal=none").err
    assert run("quota", "priorities", "a=1", "--reset").code == 2
    assert run("quota", "priorities", "--reset").out == "normal  0\n"
    assert run("quota", "policy", "local", "--order", "fair_share").out == "changed local\n"
    assert service.queue["local"] == {"order": "fair_share", "backfill": True}
    assert run("quota", "reset", "local").code == 0
    assert service.queue["local"] == {}
    assert run("quota", "policy", "--cluster", "moon", "--no-backfill").code == 4


def test_an_address_is_blocked_and_unblocked(run, service):
    assert run("nodes", "block", "10.0.0.7", "--why", "moving").out == "blocked 10.0.0.7: moving\n"
    assert service.held == {("addresses", "10.0.0.7"): "moving"}
    assert run("nodes", "unblock", "10.0.0.7").out == "unblocked 10.0.0.7\n"
    assert service.held == {}


def test_a_node_is_drained(run):
    assert "draining: new disks" in run("nodes", "drain", "node-1", "--why", "new disks").out


def test_a_node_is_blocked_and_unblocked(run):
    assert "blocked: its fan died" in run("nodes", "block", "node-1", "--why", "its fan died").out
    assert "ready" in run("nodes", "unblock", "local/node-1").out


def test_a_secret_comes_from_standard_input_and_never_from_the_words(client, service):
    stored = _shell(service, ["secrets", "set", "wandb-key"], stdin="s3cr3t\n")

    assert stored.returncode == 0
    assert service.secrets == {"wandb-key": "s3cr3t"}
    assert "s3cr3t" not in stored.stdout + stored.stderr
    assert _shell(service, ["secrets"]).stdout == "wandb-key\n"
    assert _shell(service, ["secrets", "list"]).stdout == "wandb-key\n"
    assert _shell(service, ["secrets", "set", "x", "value"]).returncode == 2
    assert "no value for x" in _shell(service, ["secrets", "set", "x"], stdin="").stderr
    assert _shell(service, ["secrets", "delete", "wandb-key"]).returncode == 0
    assert service.secrets == {}


def test_an_interrupt_detaches_and_the_job_goes_on(client, service, here):
    service.hold = {"sentence": "", "reason": {"code": "WaitingForCapacity", "message": "no GPU is free"}}
    process = subprocess.Popen(
        [FOOTPLATE, "train", "--no-workspace", "true"], env=_environment(service), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # Whatever started the tests may have them ignore interrupts, and a child inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )  # fmt: skip
    assert process.stderr is not None
    while "no GPU is free" not in (line := process.stderr.readline()):
        assert line
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "footplate attach true-" in out
    assert [job.state for job in service.jobs.values()] == ["queued"]


def test_logs_follow_to_the_end(run, service, here):
    service.hold = {"sentence": "held"}
    job = run("train", "-d", "--no-workspace", "sh", "-c", "echo a; echo b").out.strip()
    threading.Thread(target=lambda: (time.sleep(0.2), service.run(service.jobs[job]))).start()

    assert run("logs", "-f", job).out == "a\nb\n"
    assert run("logs", job, "--tail", "2").out == "b\n"


def test_a_reader_that_leaves_is_no_error(client, service):
    for _ in range(3):
        _shell(service, ["train", "-d", "--no-workspace", "true"])
    piped = subprocess.run(
        ["bash", "-c", f"{FOOTPLATE} jobs | head -n 1"],
        env=_environment(service),
        text=True,
        capture_output=True,
        check=False,
    )

    assert piped.stderr == ""
    assert piped.stdout.startswith("job")


def test_the_doctor_says_what_is_missing_and_fails(here, monkeypatch, capfd):
    with pytest.raises(SystemExit) as left:
        main(["doctor"])

    told = capfd.readouterr().out
    assert left.value.code == 1
    assert "✗ platform" in told
    assert "start one with 'footplate up'" in told


def test_the_doctor_is_content_with_a_platform_that_answers(run):
    told = run("doctor").out

    assert "✓ you" in told
    assert "8 in all, declared without a device" in told


def test_help_names_every_verb_and_the_exit_codes(run):
    told = run("--help")

    assert told.code == 0
    for word in (
        "train",
        "attach",
        "logs",
        "why",
        "stop",
        "jobs",
        "quota",
        "nodes",
        "secrets",
        "doctor",
        "130",
    ):
        assert word in told.out


def _environment(service) -> dict[str, str]:
    return {**os.environ, "FOOTPLATE_URL": service.url, "FOOTPLATE_TOKEN": TOKEN}


def _shell(service, words: list[str], stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    source = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    return subprocess.run(
        [FOOTPLATE, *words], env=_environment(service), text=True, capture_output=True, check=False, **source
    )

"""Functions and commands through the whole client: sent, run, brought back."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

import footplate as fp
from footplate import WrongCallError
from footplate.code import Code
from footplate.launch import cell_job
from footplate.options import Options


def test_a_function_comes_back_with_its_value(client):
    def add(a, b, scale=1):
        return (a + b) * scale

    job = fp.train(add, 2, 3, kwargs={"scale": 10}, gpus=0, time="1h", group="research/vision")

    assert job.result(timeout=20) == 50
    assert job.name == "add"
    assert client.job(job.id).spec.time_limit == 3600


def test_a_function_or_a_command_is_checked_without_being_sent(client, service):
    assert repr(fp.check(sum, [1, 2], gpus=4)) == "4 GPUs: now"
    told = fp.check("python train.py", workspace=None, gpus=1, replicas=9)
    assert (told.starts, repr(told)) == (
        "never",
        "9 GPUs: never\n  - 1 replica instead of 9: starts now",
    )
    assert (service.jobs, service.blobs) == ({}, {})
    with pytest.raises(WrongCallError, match="no further arguments"):
        fp.check("python", "train.py")


def test_a_fix_is_applied_to_a_job_that_waits(client, service):
    fix = {"kind": "group", "sentence": "group b: starts now", "change": {"group": "research/audio"}}
    wait = {"kind": "wait", "sentence": "no change: starts within 1h"}
    service.hold = {"sentence": "It waits.", "fixes": [fix, wait]}
    job = fp.submit("true", workspace=None)

    told = job.why()
    assert repr(told) == (
        "It waits.\n  1. group b: starts now\n  -  no change: starts within 1h\n"
        f"(%why --apply N {job.id} makes change N)"
    )
    with pytest.raises(WrongCallError, match="nothing to change: no change"):
        job.apply(told.fixes[1])
    with pytest.raises(WrongCallError, match=f"there is 1 change to make for {job.id}, and no number 2"):
        job.apply(2)
    assert job.apply() is job
    assert service.jobs[job.id].spec.group == "research/audio"


def test_a_fix_by_its_number_is_the_one_that_was_shown_whatever_is_offered_by_now(client, service):
    fixes = [
        {"kind": "group", "sentence": g, "change": {"group": f"research/{g}"}} for g in ("audio", "text")
    ]
    service.hold = {"sentence": "It waits.", "fixes": fixes}
    job = fp.submit("true", workspace=None)
    job.why()
    service.jobs[job.id].why["fixes"] = fixes[::-1]

    job.apply(1)

    assert service.jobs[job.id].spec.group == "research/audio"
    assert [fix.sentence for fix in job.why().fixes] == ["text", "audio"]


def test_what_would_help_reads_well_as_html(client, service):
    fix = {"kind": "group", "sentence": "group <b>: starts now", "change": {"group": "research/audio"}}
    wait = {"kind": "wait", "sentence": "no change: starts within 1h"}
    service.hold = {"sentence": "It waits & waits.", "fixes": [fix, wait]}
    job = fp.submit("true", workspace=None)

    html = job.why()._repr_html_()

    assert "It waits &amp; waits." in html
    assert f"<li>group &lt;b&gt;: starts now <code>%why --apply 1 {job.id}</code></li>" in html
    assert "<div>no change: starts within 1h</div>" in html
    assert "<ol>" not in fp.check("python train.py", workspace=None, gpus=1)._repr_html_()


def test_arrays_travel_without_pickle_inside_cells_only_and_come_back_equal(client):
    X = np.arange(12.0).reshape(3, 4)

    job = fp.train(np.transpose, X)

    assert np.array_equal(job.result(20), X.T)


def test_a_remote_error_carries_its_traceback(client):
    def fail():
        raise ValueError("the loss is not a number")

    job = fp.train(fail)

    with pytest.raises(fp.RemoteError, match="the loss is not a number") as raised:
        job.result(20)
    assert "in fail" in raised.value.traceback
    assert raised.value.error == "ValueError: the loss is not a number"


def test_an_argument_that_cannot_travel_is_named_before_anything_is_sent(client, service):
    with pytest.raises(
        fp.UnpicklableError, match=r"argument 2 of print\(\) \(lock\) cannot be sent: cannot pickle"
    ):
        fp.train(print, 1, threading.Lock())

    assert not service.jobs
    assert not service.blobs


def test_a_command_runs_in_its_workspace_and_its_files_come_back(client, here, tmp_path):
    (here / "lib").mkdir()
    (here / "lib" / "words.py").write_text("WORD = 'hello'\n")
    (here / "main.py").write_text(
        "import os, sys; sys.path.insert(0, 'lib'); import words\n"
        "print(words.WORD, sys.argv[1:])\n"
        "os.makedirs(os.environ['FOOTPLATE_OUTPUT'] + '/deep')\n"
        "open(os.environ['FOOTPLATE_OUTPUT'] + '/deep/model.txt', 'w').write('weights')\n"
    )

    job = fp.submit("python main.py --lr 3e-4").wait(20)

    assert job.logs() == "hello ['--lr', '3e-4']\n"
    assert job.result() is None
    assert job.name == "main"
    assert [path.read_text() for path in job.download(tmp_path / "out")] == ["weights"]


def test_a_failed_command_raises_its_first_cause(client, here):
    job = fp.submit(["false"], workspace=None)

    with pytest.raises(fp.JobFailedError, match="exit code 1"):
        job.result(20)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"gpus": -1}, "gpus must be 0 or more, not -1"),
        ({"gpus": 1.5}, "gpus must be a whole number, not 1.5"),
        ({"gpu": 1}, "there is no option 'gpu'; did you mean gpus?"),
        ({"replica": 2}, "there is no option 'replica'; did you mean replicas?"),
        ({"replicas": 0}, "replicas must be 1 or more"),
        ({"replicas": "8-2"}, "replicas '8-2': write the fewest first, then the most"),
        ({"replicas": "many"}, "replicas must be a whole number, or a range: 4, '2-8', not 'many'"),
        ({"replicas": True}, "replicas must be a whole number"),
        ({"time": "soon"}, "'soon' is not a length of time"),
        ({"memory": "many"}, "'many' is not an amount of memory"),
        ({"env": ["NOT_SET_ANYWHERE"]}, "has no value here"),
        ({"secrets": ["key:disk"]}, "write key, key:env or key:file"),
        ({"volumes": {"scratch": "../up"}}, "without '..'"),
        ({"pip": "-r requirements.txt"}, "an option of pip, not a package"),
        ({"on_failure": "shrug"}, "on_failure"),
        ({"git": "https://ada:pw@example.org/x.git"}, "a password does not belong in a URL"),
        ({"git": "https://example.org/x.git", "workspace": "."}, "not from both"),
        ({"ref": "main"}, "go with git=URL"),
        ({"workspace": "/no/such/folder"}, "there is no folder /no/such/folder"),
        ({"python": "/no/such/python"}, "is not a Python that can be used"),
        ({"name": "Not A Name"}, "name"),
    ],
    ids=str,
)
def test_a_wrong_option_is_one_sentence_before_anything_is_sent(client, service, options, sentence):
    with pytest.raises(WrongCallError) as raised:
        fp.submit(["true"], **options)

    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not service.requests


def test_options_become_the_contracts_fields(client, service, here, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    (here / "setup.sh").write_text("echo ready\n")
    client.blobs.send([])

    fp.submit(
        ["true"], workspace=None, gpus=2, cpu="500m", memory="1Gi", flavor="h100,a100", replicas=3,
        priority="high", env=["WANDB_MODE", "A=b=c"], secrets=["wandb-key", "ssh:file"],
        volumes=["scratch:/scratch"], pip=["einops"], setup="setup.sh", exclude=["node-7", "10.0.0.7"],
        after=["digits-7k3f9m", "fit-22a333:finished"],
        nodes_with=["zone=a"], topology="rack", extended=["rdma/hca=1"],
        tolerate=["team=vision:NoSchedule", "gpu"],
        max_restarts=0, grace="30s", fence_after="10m", on_failure="fail_job", on_success="end_job",
        cluster="local",
    )  # fmt: skip

    sent = service.specs[0]
    assert sent["roles"][0] == {
        "replicas": 3, "on_failure": "fail_job", "on_success": "end_job",
        "resources": {"gpu": 2, "cpu": "0.5", "memory": 2**30, "flavor": ["h100", "a100"],
                      "extended": {"rdma/hca": 1}},
    }  # fmt: skip
    assert sent["env"] == {"WANDB_MODE": "offline", "A": "b=c"}
    assert sent["secrets"] == [{"name": "wandb-key", "as": "env"}, {"name": "ssh", "as": "file"}]
    assert sent["setup"] == {"pip": ["einops"], "script": "echo ready\n"}
    assert sent["after"] == [
        {"job": "digits-7k3f9m", "outcome": "succeeded"},
        {"job": "fit-22a333", "outcome": "finished"},
    ]
    assert sent["exclude"] == {"nodes": ["node-7"], "addresses": ["10.0.0.7"]}
    assert sent["placement"] == {
        "nodes": {"zone": "a"}, "topology": "rack",
        "tolerations": [{"key": "team", "value": "vision", "effect": "NoSchedule"}, {"key": "gpu"}],
    }  # fmt: skip
    assert sent["recovery"] == {"max_restarts": 0, "checkpoint_grace": 30, "fence_after": 600}


def test_the_same_workspace_travels_once(client, service, here):
    (here / "big.bin").write_bytes(os.urandom(300_000))
    fp.submit(["true"]).wait(20)
    before = len(service.requests)

    fp.submit(["true"])

    assert service.requests[before:] == [("POST", "jobs")]


def test_blobs_that_the_service_swept_meanwhile_are_sent_again(client, service, here):
    (here / "train.py").write_text("print('hi')\n")
    fp.submit(["python", "train.py"]).wait(20)
    service.blobs.clear()

    assert fp.submit(["python", "train.py"]).wait(20).logs() == "hi\n"


def test_a_group_that_one_may_not_use_is_the_services_sentence(client, service):
    with pytest.raises(fp.RefusedError, match="you are not in the group secret-club"):
        fp.submit(["true"], workspace=None, group="secret-club")


def test_git_is_named_and_nothing_of_the_folder_travels(client, service, here):
    (here / "private.txt").write_text("mine")

    fp.submit(
        ["python", "train.py"], git="https://example.org/x.git", ref="main", path="sub", git_secret="key"
    )

    assert service.specs[0]["source"]["git"] == {
        "url": "https://example.org/x.git", "ref": "main", "path": "sub", "secret": "key",
    }  # fmt: skip
    assert b"mine" not in service.blobs.values()


def test_a_cell_may_await_at_its_top_and_its_outputs_may_be_made_in_any_way(here):
    for cell in (
        "out = await work()",
        "def out(): pass",
        "import numpy as out",
        "from x import *",
        "for out in range(3): pass",
        "with open('f') as out: pass",
        "(out := 1)",
        "match 1:\n    case out: pass",
        "try: pass\nexcept E as out: pass",
        "exec('out = 1')",
        "a, (b, *out) = thing",
    ):
        assert cell_job(cell, {}, ["out"], Code(), Options()).spec.source.function.outputs == ["out"]


def test_a_handle_that_is_shown_is_up_to_date_and_shows_what_it_knows_where_nobody_answers(client, service):
    service.hold = {"sentence": "held"}
    job = fp.submit(["true"], workspace=None)
    service.change(service.jobs[job.id], state="running")

    assert "running" in job._repr_mimebundle_()["text/plain"]
    service.change(service.jobs[job.id], state="succeeded")
    service.failing, service.failures = "jobs", [503] * 100
    assert "running" in job._repr_mimebundle_()["text/plain"]


def test_metrics_are_points_with_names(client, service):
    job = fp.submit(["true"], workspace=None).wait(20)
    service.jobs[job.id].points = [
        {"time": 1.0, "step": 1, "values": {"loss": 0.5}},
        {"time": 2.0, "step": 2, "values": {"loss": 0.25, "accuracy": 0.75}},
    ]

    metrics = job.metrics()

    assert metrics.names == ["loss", "accuracy"]
    assert repr(metrics) == "<2 points: loss=0.25 accuracy=0.75>"
    assert repr(job.why()) == f"{job.id} is succeeded"
    assert job.events()[0].kind == "job.submitted"


def test_a_secret_may_be_asked_for_so_that_it_stays_out_of_the_notebook(client, service, monkeypatch):
    monkeypatch.setattr("footplate.session.getpass", lambda prompt: f"typed at {prompt}")

    fp.secrets.set("wandb-key")

    assert service.secrets == {"wandb-key": "typed at value of wandb-key: "}
    assert repr(fp.secrets) == "secrets: wandb-key"

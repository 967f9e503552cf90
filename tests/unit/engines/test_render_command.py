"""``footplate render``: objects for a job without a cluster."""

from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner

from footplate_hub.commands.render import render
from footplate_hub.engines.kubernetes.render import KINDS


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.delenv("FOOTPLATE_CONFIG", raising=False)


def run(tmp_path, spec, *words):
    file = tmp_path / "job.yaml"
    file.write_text(spec if isinstance(spec, str) else yaml.safe_dump(spec), encoding="utf-8")
    return CliRunner().invoke(render, [str(file), *words], standalone_mode=False)


@pytest.mark.parametrize("engine", sorted(KINDS))
def test_every_engine_prints_what_it_would_create(tmp_path, engine):
    spec = {"name": "digits", "command": ["true"], "roles": [{"replicas": {"min": 2, "max": 4}}]}
    done = run(tmp_path, spec, "--engine", engine)
    assert done.return_value == 0, done.output
    made = list(yaml.safe_load_all(done.stdout))
    assert made[0]["metadata"]["name"] == "digits-attempt"
    assert {"ConfigMap", "Secret"} < {one["kind"] for one in made}
    as_json = run(tmp_path, spec, "--engine", engine, "--json")
    assert json.loads(as_json.stdout) == made


def test_a_cluster_of_the_settings_says_how(tmp_path):
    settings = tmp_path / "footplate.yaml"
    clusters = [
        {"name": name, "engine": "volcano", "kubernetes": {"image": f"{name}:1", "queue": name}}
        for name in ("one", "two")
    ]
    settings.write_text(yaml.safe_dump({"clusters": clusters}), encoding="utf-8")
    words = ("--engine", "volcano", "--settings", str(settings))
    for more, queue in (((), "one"), (("--cluster", "two"), "two")):
        done = run(tmp_path, {"command": ["true"]}, *words, *more)
        *_, job = yaml.safe_load_all(done.stdout)
        assert job["spec"]["queue"] == queue
    done = run(tmp_path, {"command": ["true"]}, *words, "--cluster", "three")
    assert (done.return_value, "'three'" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("spec", "engine", "said"),
    [
        ({"command": ["true"], "gpus": 2}, "kubernetes", "gpus"),
        ("a: [", "kubernetes", "not YAML"),
        ({"command": ["x"], "roles": [{"name": n} for n in "abc"]}, "kubedl", "kubedl has no PyTorchJobs"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path, spec, engine, said):
    done = run(tmp_path, spec, "--engine", engine)
    assert (done.return_value, done.stdout) == (2, "")
    assert said in done.stderr

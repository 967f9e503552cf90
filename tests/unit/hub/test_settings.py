"""The owner's settings: one sentence that names the file and the place."""

from __future__ import annotations

import pytest

from footplate_hub.control.live_groups import LiveGroups
from footplate_hub.engines import EngineError, check_engines
from footplate_hub.settings import ClusterSettings, Settings, SettingsError, load_settings

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture
def clean_environment(monkeypatch):
    import os

    for name in [name for name in os.environ if name.startswith("FOOTPLATE_")]:
        monkeypatch.delenv(name)


def write(tmp_path, text):
    path = tmp_path / "footplate.yaml"
    path.write_text(text)
    return path


def refusal(tmp_path, text):
    with pytest.raises(SettingsError) as caught:
        load_settings(write(tmp_path, text), data=tmp_path)
    return str(caught.value)


def test_nothing_needs_to_be_configured(tmp_path):
    settings = load_settings(data=tmp_path)

    assert settings.database_url == f"sqlite+aiosqlite:///{tmp_path}/footplate.sqlite"
    assert settings.prefix == "/services/footplate/"
    assert settings.clusters[0].nodes is None


def test_the_file_is_read_and_variables_win(tmp_path, monkeypatch):
    path = write(tmp_path, "default_group: lab\nretention: {jobs: 7d}\nbind_port: 9000\n")
    monkeypatch.setenv("FOOTPLATE_BIND_PORT", "9001")

    settings = load_settings(path, data=tmp_path)

    assert (settings.default_group, settings.retention.jobs, settings.bind_port) == ("lab", 604800, 9001)


def test_a_group_that_only_the_hub_knows_has_defaults(tmp_path):
    path = write(tmp_path, "groups: [{name: lab, time_limit: 1h, quotas: [{flavor: gpu, gpu: 2}]}]")

    settings = load_settings(path, data=tmp_path)

    groups = LiveGroups(settings)
    assert groups.group("lab").time_limit == 3600
    assert groups.group("other").quotas == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nodez: []", "nodez"),
        ("clusters: [{engine: volcano}]", "engine volcano needs 'kubernetes' with at least an image"),
        ("clusters: [{kubernetes: {image: x}}]", "the engine here is local"),
        ("clusters: [{engine: kubedl, kubernetes: {image: x}, nodes: []}]", "found, not declared"),
        ("clusters: [{engine: kubernetes, kubernetes: {}}]", "kubernetes.image"),
        (
            "clusters: [{engine: kubernetes, kubernetes: {image: x, checkpoints: {}}}]",
            "checkpoints lie on a 'claim' or a 'host_path'; name one of them",
        ),
        (
            "clusters: [{name: a, nodez: []}]",
            "clusters.0: a cluster has no field 'nodez'; did you mean 'nodes'?",
        ),
        ("clusters: [{nodes: [{name: a, memory: 1Gi}]}]", "clusters.0.nodes.0.cpu"),
        (
            "clusters: [{nodes: [{name: a, cpu: 1, memory: 1Gi}, {name: a, cpu: 1, memory: 1Gi}]}]",
            "node of cluster local 'a' occurs twice",
        ),
        ("clusters: [{nodes: [{name: a, cpu: 1, memory: 1Gi, gpu: 2, gpus: [0]}]}]", "names 1 devices"),
        ("groups: [{name: a}, {name: a}]", "group 'a' occurs twice"),
        ("volumes: [{name: a, path: relative}]", "must be an absolute path"),
        ("storage: s3://bucket", "is not supported; write file:///"),
        ("priorities: {high: 1}", "must contain 'normal'"),
        ("url: ftp://x", "is not an http address"),
        ("a: [", "line 1 is not YAML"),
        ("- a", "must hold keys and values"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path, text, sentence):
    message = refusal(tmp_path, text)

    assert sentence in message
    assert "footplate.yaml" in message


NODES = """clusters:
- {name: local, nodes: [{name: n, flavor: gpu, cpu: 8, memory: 8Gi, gpu: 4, declared: true}]}
groups:
"""


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        ("- {name: a}\n- {name: b}\n- {name: a}", "line 6: group 'a' occurs twice"),
        (
            "- name: a\n  quotas:\n  - {flavor: gpu, gpu: 2}\n  - {flavor: h100, gpu: 2}",
            "line 7: group 'a' has a quota of flavor 'h100', which no node of cluster 'local' has; "
            "there is gpu",
        ),
        (
            "- name: a\n  quotas: [{cluster: mars, flavor: gpu}]",
            "line 5: group 'a' has a quota on cluster 'mars', which does not exist; there is local",
        ),
        (
            "- {name: a, quotas: [{flavor: gpu, gpu: 1},\n  {flavor: gpu, gpu: 2}]}",
            "line 5: group 'a' has two quotas of flavor 'gpu' on cluster 'local'; write one",
        ),
        (
            "- {name: a, quotas: [{flavor: gpu, gpu: 2}]}\n"
            "- {name: a/x, quotas: [{flavor: gpu, gpu: 1}]}\n"
            "- {name: a/y/z, quotas: [{flavor: gpu, gpu: 2}]}",
            "line 4: the groups below 'a' have 3 GPUs of flavor 'gpu' together, more than its 2 GPUs",
        ),
        (
            "- name: a\n  quotas:\n  - {flavor: gpu, gpu: 2, lending_limit: {gpu: 3}}",
            "line 6: groups.0.quotas.0: lends 3 GPUs but has only 2 GPUs",
        ),
        (
            "- name: a\n  quotas:\n  - flavor: gpu\n    gpu: 2\n    borrowing_limit: {cpu: 0}",
            "line 6: groups.0.quotas.0: has a borrowing_limit for cpu but no cpu of its own; "
            "say how much it has",
        ),
        ("- name: a\n  time_limit: soon", "line 5: groups.0.time_limit: 'soon' is not a length of time"),
        ("- name: a\n  name: b", "line 5: 'name' occurs twice; put both into one"),
    ],
)
def test_a_wrong_tree_of_groups_is_refused_with_the_line(tmp_path, groups, sentence):
    assert f"footplate.yaml {sentence}" in refusal(tmp_path, NODES + groups)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load_settings(tmp_path / "none.yaml", data=tmp_path)


def test_settings_do_not_change(tmp_path):
    settings = Settings(data=tmp_path)

    with pytest.raises(ValueError, match="frozen"):
        settings.default_group = "x"


def test_an_engine_whose_packages_are_missing_says_how_to_get_them(monkeypatch):
    cluster = ClusterSettings.model_validate(
        {"name": "k", "engine": "kubernetes", "kubernetes": {"image": "x"}}
    )
    check_engines([cluster, ClusterSettings()])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"cluster 'k'.*pip install 'footplate\[kubernetes\]'"):
        check_engines([cluster])

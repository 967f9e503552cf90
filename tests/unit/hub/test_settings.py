"""The owner's settings: one sentence that names the file and the place."""

from __future__ import annotations

import pytest

from footplate_hub.settings import Settings, SettingsError, load_settings

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

    assert settings.group("lab").time_limit == 3600
    assert settings.group("other").quotas == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nodez: []", "nodez"),
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


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load_settings(tmp_path / "none.yaml", data=tmp_path)


def test_settings_do_not_change(tmp_path):
    settings = Settings(data=tmp_path)

    with pytest.raises(ValueError, match="frozen"):
        settings.default_group = "x"

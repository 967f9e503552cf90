"""What is the local engine's own: the machine as found, limits, GPUs, a fork server that dies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from footplate_hub.engines import Attempt, EngineError, Observation, PlacedReplica
from footplate_hub.engines.local import LocalEngine
from footplate_hub.engines.local.nodes import Device, flavor_of, local_nodes, machine_memory
from footplate_hub.engines.local.people import socket_path
from footplate_hub.settings import ClusterSettings, Settings
from footplate_hub.tokens import ReplicaTokens
from footplate_spec import JobSpec
from support.control import eventually

NODE = {"name": "n1", "cpu": 4, "memory": "8Gi"}


def make(name: str = "job-a1", gpus: tuple[int, ...] = (), **fields: Any) -> Attempt:
    spec = JobSpec.model_validate({"command": ["sleep", "600"], "group": "g", **fields})
    return Attempt(name, "job", 1, "ada", "g", spec, 600, (PlacedReplica("worker", 0, "n1", gpus),))


def settings(data: Path, **fields: Any) -> Settings:
    data.mkdir(mode=0o700, exist_ok=True)
    cluster = {"name": "local", "nodes": [{**NODE, **fields.pop("node", {})}]}
    return Settings(data=data, bind_port=1, clusters=[cluster], **fields)


def engine_of(made: Settings) -> LocalEngine:
    return LocalEngine(made, made.clusters[0], ReplicaTokens(made.data / "replicas.key"))


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[LocalEngine]:
    running = engine_of(
        settings(tmp_path / "data", volumes=[{"name": "pets", "path": "/srv", "groups": ["g"]}])
    )
    await running.start()
    yield running
    await running.delete(make(), patience=0)
    await running.stop()


def start_of(tmp_path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((tmp_path / "data/replicas/job-a1/worker-0/start.json").read_text())
    return document


async def test_a_killed_fork_server_is_replaced_and_keepers_do_not_notice(engine, tmp_path):
    await engine.apply(make())
    folder = tmp_path / "data/replicas/job-a1/worker-0"
    await eventually((folder / "started-1").exists)
    server = engine._people._home.server
    credentials = server._streams[1].get_extra_info("socket").getsockopt(1, 17, 12)
    os.kill(int.from_bytes(credentials[:4], "little"), signal.SIGKILL)
    keeper = json.loads((folder / "keeper.json").read_text())["pid"]
    seen = [await asyncio.wait_for(anext(engine.observe()), 10)]
    assert seen == [Observation("job-a1", "worker", 0, True)]
    os.kill(keeper, signal.SIGKILL)
    assert await asyncio.wait_for(anext(engine.observe()), 10) == Observation("job-a1", "worker", 0, False)


async def test_the_start_document_says_what_the_protocol_says(engine, tmp_path):
    await engine.apply(
        make(
            command="python train.py",
            env={"A": "1", "B": "1"},
            roles=[{"env": {"B": "2"}, "resources": {"cpu": "500m", "memory": "1Gi"}}],
            mounts=[{"volume": "pets", "path": "/data/pets"}],
            secrets=[{"name": "key"}],
        )
    )
    start = start_of(tmp_path)
    assert start["command"] == "python train.py"
    assert start["env"] == {"A": "1", "B": "2"}
    assert start["mounts"] == [{"name": "pets", "host": "/srv", "path": "/data/pets"}]
    assert (start["cpu"], start["memory"], start["gpus"], start["secrets"]) == (500, 2**30, [], True)
    assert start["service"] == "http://127.0.0.1:1/services/footplate/"
    assert start["token"].startswith("fpr.job-a1.worker.0.")
    assert (tmp_path / "data/replicas/job-a1/worker-0/start.json").stat().st_mode & 0o077 == 0
    assert Path(start["checkpoint"]) == tmp_path / "data/storage/checkpoints/job"
    assert Path(start["checkpoint"]).is_dir()


async def test_no_secret_is_in_the_fork_servers_arguments_or_environment(engine, monkeypatch):
    credentials = engine._people._home.server._streams[1].get_extra_info("socket").getsockopt(1, 17, 12)
    pid = int.from_bytes(credentials[:4], "little")
    environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
    names = {line.partition("=")[0] for line in environment if line}
    assert names <= {"HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "PYTHONPATH", "TMPDIR", "TZ", "USER"}
    assert "fpr." not in Path(f"/proc/{pid}/cmdline").read_text()


async def test_a_volume_that_is_gone_or_closed_to_the_group_is_refused_for_good(engine):
    attempt = make(mounts=[{"volume": "plants", "path": "/data"}])
    with pytest.raises(EngineError, match="no volume 'plants'") as refused:
        await engine.apply(attempt)
    assert not refused.value.again


async def test_a_folder_that_cannot_be_made_is_told_in_a_sentence(engine, tmp_path):
    (tmp_path / "data/storage/checkpoints").rmdir()
    (tmp_path / "data/storage/checkpoints").write_text("in the way")
    with pytest.raises(EngineError, match="checkpoint folder cannot be made"):
        await engine.apply(make())


async def test_a_replica_is_held_to_its_share_where_the_machine_allows(engine, tmp_path):
    await engine.apply(make(roles=[{"resources": {"cpu": "500m", "memory": "256Mi"}}]))
    start = start_of(tmp_path)
    [node] = await engine.nodes()
    assert start["advisory"] == node.advisory
    if node.advisory:
        assert len(start["cpus"]) == 1 or os.cpu_count() == 1
        return
    groups = [Path(group) for group in start["cgroup"]]
    await eventually(lambda: all((group / "cgroup.procs").read_text().split() for group in groups))
    limits = [file.read_text().strip() for group in groups for file in group.glob("memory.*") if file.name in
              {"memory.max", "memory.limit_in_bytes"}]  # fmt: skip
    assert limits == [str(256 * 2**20)]
    await engine.delete(make(), patience=0)
    assert not any(group.exists() for group in groups)


async def test_where_there_are_no_control_groups_replicas_get_cpus_of_their_own_and_limits_are_advisory(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("footplate_hub.engines.local.engine.find", lambda _: None)
    engine = engine_of(settings(tmp_path / "data"))
    await engine.start()
    try:
        await engine.apply(make())
        [node] = await engine.nodes()
        start = start_of(tmp_path)
        assert (node.advisory, start["advisory"], start["cgroup"]) == (True, True, None)
        everything = os.sched_getaffinity(0)
        assert len(start["cpus"]) == (1 if len(everything) > 1 else 0)
        assert set(start["cpus"]) <= everything
    finally:
        await engine.delete(make(), patience=0)
        await engine.stop()


def test_declared_gpus_are_refused_beside_real_ones_and_real_ones_are_given_out_once():
    real = [Device(0, "NVIDIA H100 80GB HBM3"), Device(1, "NVIDIA H100 80GB HBM3")]
    declared = ClusterSettings.model_validate({"nodes": [{**NODE, "gpu": 2, "declared": True}]})
    with pytest.raises(EngineError, match="n1 declares GPUs"):
        local_nodes(declared, real, advisory=True)
    [local] = local_nodes(declared, [], advisory=True)
    assert (local.node.gpu, local.node.declared, local.devices) == (2, True, ())
    nodes = [{**NODE, "gpu": 1}, {**NODE, "name": "n2", "gpu": 1}]
    split = ClusterSettings.model_validate({"nodes": nodes})
    assert [local.devices for local in local_nodes(split, real, advisory=True)] == [(0,), (1,)]
    with pytest.raises(EngineError, match="n2 has 1 GPUs in the configuration"):
        local_nodes(split, real[:1], advisory=True)


def test_this_machine_is_offered_as_it_is_found():
    [local] = local_nodes(ClusterSettings(), [], advisory=True)
    assert local.node.cpu == len(os.sched_getaffinity(0)) * 1000
    assert 2**27 < local.node.memory == machine_memory()
    assert (local.node.flavor, local.node.gpu) == ("cpu", 0)
    [local] = local_nodes(ClusterSettings(), [Device(0, "NVIDIA A100-SXM4-40GB")], advisory=True)
    assert (local.node.flavor, local.node.gpu, local.node.gpu_model) == ("a100", 1, "NVIDIA A100-SXM4-40GB")


@pytest.mark.parametrize(
    ("model", "flavor"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("Tesla V100-PCIE-16GB", "v100"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA GeForce RTX 3090", "rtx-3090"),
        ("NVIDIA GH200 480GB", "gh200"),
        ("Something else", "something-else"),
    ],
)
def test_a_flavor_is_named_after_the_gpu(model, flavor):
    assert flavor_of(model) == flavor


def test_a_data_folder_with_a_long_path_still_has_a_socket(tmp_path):
    long = tmp_path / ("x" * 100)
    path = socket_path(long)
    assert len(os.fsencode(path)) < 90
    assert path.parent.stat().st_mode & 0o077 == 0
    assert socket_path(Path("/short")) == Path("/short/fork.sock")

"""A real node: containerd, kubelet and kube-proxy on a machine of their own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import yaml

from .machine import Machine, until
from .plane import ADDRESS, PODS, SERVICES, Plane
from .tools import program

__all__ = ["join", "start_node", "tidy_cgroups"]

_CGROUPS = Path("/sys/fs/cgroup")
_MARK = "footplate-test"


def join(plane: Plane, name: str, address: str) -> Machine:
    """A machine with an address on the control plane's bridge."""
    machine = Machine(name, plane.folder / name)
    link = f"v{name[-12:]}"
    outside = ["nsenter", f"-t{plane.machine.pid}", "-n", "ip", "link", "add", link, "type", "veth"]
    subprocess.run([*outside, "peer", "name", "eth0", "netns", str(machine.pid)], check=True)
    plane.machine.run("ip", "link", "set", link, "master", "br0", "up")
    for words in (
        f"ip addr add {address}/24 dev eth0",
        "ip link set eth0 up",
        f"ip route add default via {ADDRESS}",
    ):
        machine.run(*words.split())
    return machine


def start_node(plane: Plane, number: int, images: list[Path], gpus: int = 0) -> Machine:
    """Start node ``n<number>`` and wait until it is ready; its GPUs are a number and nothing else."""
    name, address = f"n{number}", f"10.50.0.{10 + number}"
    machine = join(plane, name, address)
    pods = f"10.60.{number}.0/24"
    plane.machine.run("ip", "route", "replace", pods, "via", address)
    machine.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1")
    if number == 1:  # the control plane reaches services through the first node's proxy
        plane.machine.run("ip", "route", "replace", SERVICES, "via", address)
    root = f"{_MARK}-{plane.port}-{name}"
    _make_cgroups(root)
    _start_containerd(machine, pods)
    for image in images:
        machine.run("ctr", "-n", "k8s.io", "images", "import", str(image))
    _start_kubelet(plane, machine, address, root)
    until(lambda: _ready(plane, name), 90, f"node {name}; see {plane.folder}/log/{name}-kubelet.log")
    if gpus:
        counted = {"nvidia.com/gpu": str(gpus)}
        status = {"status": {"capacity": counted, "allocatable": counted}}
        plane.api("PATCH", f"/api/v1/nodes/{name}/status", status, kind="merge-patch")
    return machine


def tidy_cgroups(port: int) -> None:
    """Remove the control groups of a cluster that has ended."""
    for root in _CGROUPS.glob(f"*/{_MARK}-{port}-*"):
        for folder in sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True):
            folder.rmdir()
        root.rmdir()


def _start_containerd(machine: Machine, pods: str) -> None:
    network = {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": pods}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    (machine.folder / "cni").mkdir()
    (machine.folder / "cni/10-bridge.conflist").write_text(json.dumps(network), encoding="ascii")
    config = machine.folder / "containerd.toml"
    config.write_text(
        "version = 2\n"
        '[plugins."io.containerd.internal.v1.opt"]\n path = "/var/lib/containerd/opt"\n'
        '[plugins."io.containerd.grpc.v1.cri"]\n sandbox_image = "localhost/pause:1"\n'
        " restrict_oom_score_adj = true\n"  # without CAP_SYS_RESOURCE a sandbox cannot have its usual one
        ' [plugins."io.containerd.grpc.v1.cri".cni]\n  bin_dir = "/usr/lib/cni"\n'
        f'  conf_dir = "{machine.folder}/cni"\n',
        encoding="ascii",
    )
    machine.start(f"{machine.name}-containerd", "containerd", "-c", str(config))
    until(lambda: machine.run("ctr", "version"), 30, "containerd")


def _start_kubelet(plane: Plane, machine: Machine, address: str, root: str) -> None:
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{root}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": plane.authority.path("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDNS": [ADDRESS],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "resolvConf": "",
        "oomScoreAdj": 0,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "imageGCHighThresholdPercent": 100,  # nothing could be pulled again
        "imageGCLowThresholdPercent": 99,
        "maxPods": 200,
        "registryPullQPS": 0,
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
        "nodeStatusUpdateFrequency": "5s",
    }
    file = machine.folder / "kubelet.yaml"
    file.write_text(yaml.safe_dump(config), encoding="ascii")
    name = machine.name
    way = plane.inner(name, f"system:node:{name}", "system:nodes")
    machine.start(
        f"{name}-kubelet", program("kubernetes", "kubelet"), "--v=1", f"--config={file}",
        f"--kubeconfig={way}", f"--hostname-override={name}", f"--node-ip={address}",
    )  # fmt: skip
    machine.start(
        f"{name}-proxy", program("kubernetes", "kube-proxy"), "--v=1",
        f"--kubeconfig={plane.inner('proxy', 'system:kube-proxy')}", f"--hostname-override={name}",
        "--proxy-mode=iptables", f"--cluster-cidr={PODS}", "--conntrack-max-per-core=0", "--conntrack-min=0",
        "--oom-score-adj=0",
    )  # fmt: skip


def _make_cgroups(root: str) -> None:
    """A kubelet wants its root to exist in every hierarchy of the first version."""
    for tasks in _CGROUPS.glob("*/tasks"):
        hierarchy = tasks.parent
        folder = hierarchy / root
        folder.mkdir(exist_ok=True)
        if hierarchy.name == "cpuset":
            for file in ("cpuset.cpus", "cpuset.mems"):
                (folder / file).write_text((hierarchy / file).read_text())


def _ready(plane: Plane, name: str) -> bool:
    conditions = plane.api("GET", f"/api/v1/nodes/{name}")["status"].get("conditions", [])
    return any(found["type"] == "Ready" and found["status"] == "True" for found in conditions)

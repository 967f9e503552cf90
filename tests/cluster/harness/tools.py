"""Programs of a cluster, compiled from Go modules at the versions that ``tests/cluster/tools`` pins.

Each set is built once into a cache whose folder carries a digest of its pins: other pins are another folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

__all__ = ["NAMES", "build", "built", "missing", "program", "source"]

PINS = Path(__file__).parents[1] / "tools"
NAMES = (
    "etcd", "kubernetes", "coredns", "kwok", "volcano", "jobset", "trainer", "training-operator", "kubedl",
    "kueue",
)  # fmt: skip
_PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "nsenter": "util-linux",
    "gcc": "gcc",
}
_CNI = Path("/usr/lib/cni/bridge")


def missing() -> str | None:
    """What this machine lacks to run a cluster, in one sentence; None if nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a Kubernetes needs Linux and root"
    probe = ["unshare", "--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "true"]
    if subprocess.run(probe, check=False, capture_output=True).returncode != 0:
        return "a Kubernetes needs namespaces of its own, which this machine does not let it make"
    packages = [package for word, package in _PACKAGES.items() if shutil.which(word) is None]
    packages += [] if _CNI.exists() else ["containernetworking-plugins"]
    if packages:
        return f"a Kubernetes needs: apt-get install {' '.join(packages)}"
    if shutil.which("go") is None and not all(built(name) for name in NAMES):
        return "the cluster's programs are not built, and building them needs Go"
    return None


def built(name: str) -> bool:
    """Whether a set of programs is there."""
    return (_folder(name) / ".built").exists()


def program(name: str, word: str) -> str:
    """The path of one program of a set."""
    return str(_folder(name) / word)


def build(names: tuple[str, ...] = NAMES) -> None:
    """Compile what is not there; half an hour for all of it on two cores."""
    for name in names:
        if built(name):
            continue
        began, folder = time.monotonic(), _folder(name)
        work = folder.with_suffix(".src")
        shutil.copytree(PINS / name, work, dirs_exist_ok=True)
        flags = f"-s -w {_version(name)}".strip()
        words = ["go", "build", "-mod=mod", "-trimpath", "-ldflags", flags, "-o", f"{folder}/", "tool"]
        subprocess.run(words, check=True, cwd=work, env={**os.environ, "CGO_ENABLED": "0"})
        shutil.rmtree(work)
        (folder / ".built").touch()
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)


def _version(name: str) -> str:
    """What a Kubernetes says that it is: Kueue ends where a server names no version."""
    if name != "kubernetes":
        return ""
    return f"-X k8s.io/component-base/version.gitVersion={_pinned(name, 'k8s.io/kubernetes')}"


def _pinned(name: str, module: str) -> str:
    pins = (PINS / name / "go.mod").read_text(encoding="utf-8")
    found = re.search(re.escape(module) + r" (v\S+)", pins)
    assert found is not None, f"{name} does not pin {module}"
    return found[1]


@cache
def source(name: str, module: str) -> Path:
    """The folder of a module's source, where its CRDs and webhooks lie."""
    words = ["go", "mod", "download", "-json", f"{module}@{_pinned(name, module)}"]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return Path(json.loads(done.stdout)["Dir"])


def _folder(name: str) -> Path:
    root = Path(os.environ.get("FOOTPLATE_CLUSTER_TOOLS", "~/.cache/footplate/cluster-tools")).expanduser()
    pins = (PINS / name / "go.mod").read_bytes() + _version(name).encode()
    digest = hashlib.sha256(pins).hexdigest()[:12]
    folder = root / f"{name}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    if shutil.which("go") is None and not all(map(built, NAMES)):
        print("the cluster's programs are not built, and building them needs Go", file=sys.stderr)
    else:
        build(tuple(sys.argv[1:]) or NAMES)

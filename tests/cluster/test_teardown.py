"""A cluster for tests leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.conftest import KUBECONFIG
from cluster.harness.whole import whole_cluster


def processes() -> set[tuple[int, str]]:
    """Every process of this machine, with what started it."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            begun = (folder / "stat").read_text().rpartition(")")[2].split()[19]
        except OSError:
            continue
        if words:
            found.add((int(folder.name), f"{begun} {words.strip()}"))
    return found


def mounts() -> set[str]:
    return set(Path("/proc/self/mountinfo").read_text("utf-8").splitlines())


def control_groups() -> set[str]:
    return {str(path) for path in Path("/sys/fs/cgroup").glob("**/footplate-test-*")}


def links() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}


@pytest.mark.skipif(KUBECONFIG is not None, reason="the cluster was there before")
def test_a_cluster_ends_with_all_that_it_started():
    before = mounts(), control_groups(), links(), set(Path("/run/netns").glob("*"))
    ran = processes()
    with whole_cluster() as whole:
        folder = str(whole.plane.folder.parent)
        assert any(folder in words for _, words in processes())  # this would find what is left
    assert (mounts(), control_groups(), links(), set(Path("/run/netns").glob("*"))) == before
    assert not Path(folder).exists()
    left = {
        (pid, words)
        for pid, words in processes() - ran
        if folder in words or "containerd" in words or "kube" in words or "etcd" in words
    }
    assert left == set()

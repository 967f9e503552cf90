"""Container images from this machine's own files: nothing is pulled from anywhere."""

from __future__ import annotations

import glob
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

__all__ = ["PAUSE", "PYTHON", "make_pause", "make_python"]

PAUSE = "localhost/pause:1"
PYTHON = f"localhost/python:{sysconfig.get_python_version()}"
_PAUSE_PROGRAM = """
#include <signal.h>
#include <unistd.h>
#include <sys/wait.h>
static void end(int s) { _exit(0); }
static void reap(int s) { while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) { signal(SIGTERM, end); signal(SIGINT, end); signal(SIGCHLD, reap); for (;;) pause(); }
"""
_TOOLS = ("sh", "cat", "ls", "env", "sleep", "true", "false", "mkdir", "rm", "cp", "git")
_LEFT_OUT = ("__pycache__", "test", "tests", "idlelib", "turtledemo", "lib2to3", "ensurepip", "config-*",
             "site-packages", "*.a")  # fmt: skip
_LOADED_BY_NAME = ("libnss_files.so.2", "libnss_dns.so.2", "libgcc_s.so.1")


def make_pause(archive: Path) -> None:
    """The image that holds a pod's network."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["gcc", "-static", "-Os", "-s", "-x", "c", "-", "-o", f"{folder}/pause"]
        subprocess.run(words, input=_PAUSE_PROGRAM, text=True, check=True)
        _pack(archive, PAUSE, Path(folder), {"Entrypoint": ["/pause"]})


def make_python(archive: Path) -> None:
    """This Python with its standard library, a shell, and little more."""
    with tempfile.TemporaryDirectory() as folder:
        root, version = Path(folder), sysconfig.get_python_version()
        library = root / f"usr/local/lib/python{version}"
        shutil.copytree(sysconfig.get_path("stdlib"), library, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        interpreter = os.path.realpath(sys.executable)
        _put(interpreter, root, f"/usr/local/bin/python{version}")
        for name in ("python3", "python"):
            (root / "usr/local/bin" / name).symlink_to(f"python{version}")
        tools = [path for tool in _TOOLS if (path := shutil.which(tool, path="/usr/bin:/bin"))]
        for tool in tools:
            _put(tool, root, f"/bin/{os.path.basename(tool)}")
        needed = _libraries([interpreter, *tools, *map(str, root.rglob("*.so*"))])
        needed |= {path for name in _LOADED_BY_NAME for path in glob.glob(f"/lib/*/{name}")}
        for path in needed:
            _put(path, root, path if path.startswith("/lib64/ld-") else f"/usr/lib/{os.path.basename(path)}")
        for name in ("tmp", "root", "etc", "proc", "dev", "sys", "var/tmp", "usr/bin", "home"):
            (root / name).mkdir(parents=True, exist_ok=True)
        (root / "tmp").chmod(0o1777)
        users = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n"
        (root / "etc/passwd").write_text(users, encoding="ascii")
        (root / "etc/group").write_text("root:x:0:\nuser:x:1000:\n", encoding="ascii")
        switch = "passwd: files\ngroup: files\nhosts: files dns\n"
        (root / "etc/nsswitch.conf").write_text(switch, encoding="ascii")
        (root / "usr/bin/env").symlink_to("/bin/env")
        variables = ["PATH=/usr/local/bin:/usr/bin:/bin", "LD_LIBRARY_PATH=/usr/lib", "LANG=C.UTF-8"]
        _pack(archive, PYTHON, root, {"Env": variables, "Cmd": ["python3"]})


def _put(path: str, root: Path, where: str) -> None:
    target = root / where.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(os.path.realpath(path), target)


def _libraries(programs: list[str]) -> set[str]:
    done = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False)
    return set(re.findall(r"(?:=> |^\s+)(/\S+) \(0x", done.stdout, re.MULTILINE))


def _pack(archive: Path, name: str, root: Path, config: dict[str, object]) -> None:
    """One layer, as ``docker save`` writes it."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for path in sorted(root.iterdir()):
            tar.add(path, path.name, filter=_as_root)
    data = layer.getvalue()
    diff = f"sha256:{hashlib.sha256(data).hexdigest()}"
    rootfs = {"type": "layers", "diff_ids": [diff]}
    image = json.dumps({"architecture": "amd64", "os": "linux", "config": config, "rootfs": rootfs}).encode()
    described = f"{hashlib.sha256(image).hexdigest()}.json"
    manifest = [{"Config": described, "RepoTags": [name], "Layers": ["layer.tar"]}]
    fresh = archive.with_suffix(".new")
    with tarfile.open(fresh, "w") as tar:
        for entry, content in (
            (described, image),
            ("manifest.json", json.dumps(manifest).encode()),
            ("layer.tar", data),
        ):
            info = tarfile.TarInfo(entry)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    fresh.replace(archive)


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mtime = 0
    return entry

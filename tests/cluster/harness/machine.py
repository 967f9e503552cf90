"""A machine of the cluster: namespaces that one process holds, and everything in them dies with that one.

No namespace, mount or rule ever appears outside; only control groups are left, and removed by name.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["Machine", "until"]

_INIT = "import os,time\nwhile 1:\n try: os.wait()\n except ChildProcessError: time.sleep(.2)"
_HOLD = """set -e; S=$1; mount --make-rprivate /; mount --make-rshared /
hostname "$2"; mount -t tmpfs tmpfs /run
for d in log lib/cni lib/containerd lib/kubelet; do
  mkdir -p /var/$d $S/var/$d; mount --bind $S/var/$d /var/$d
done
ip link set lo up; echo ok > $S/held; exec python3 -c "$3" init
"""
_NAMESPACES = ("--net", "--pid", "--mount", "--uts", "--ipc")


def until(condition: Callable[[], object], patience: float, what: str, step: float = 0.1) -> None:
    """Wait for a condition; an error counts as not yet."""
    deadline = time.monotonic() + patience
    while True:
        with contextlib.suppress(OSError, KeyError, subprocess.CalledProcessError):
            if condition():
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {patience:g} s in vain: {what}")
        time.sleep(step)


class Machine:
    """Namespaces, and the programs that run in them.

    Parameters
    ----------
    folder
        For what its programs keep; logs lie in ``log`` beside it.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        folder.mkdir(parents=True)
        self._logs = folder.parent / "log"
        self._logs.mkdir(exist_ok=True)
        with (folder / "hold.log").open("wb") as log:
            self._holder = subprocess.Popen(
                ["unshare", *_NAMESPACES, "--fork", "--kill-child", "--mount-proc", "sh", "-c", _HOLD, "hold",
                 str(folder), name, _INIT],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        until((folder / "held").exists, 20, f"the namespaces of {name}; see {folder / 'hold.log'}", 0.01)
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text("ascii")
        self.pid = int(children.split()[0])
        self._programs: dict[str, subprocess.Popen[bytes]] = {}

    def inside(self, words: Sequence[str]) -> list[str]:
        """A command line that enters the machine first."""
        where = [f"-t{self.pid}", "-n", "-p", "-m", "-u", "-i", f"--wd={self.folder}"]
        return ["nsenter", *where, "--", *words]

    def run(self, *words: str) -> str:
        """Run a program to its end, and return what it printed."""
        done = subprocess.run(self.inside(words), check=True, capture_output=True, text=True)
        return done.stdout

    def start(self, name: str, *words: str, env: dict[str, str] | None = None) -> None:
        """Start a program that stays; its output goes to ``log/NAME.log``."""
        with (self._logs / f"{name}.log").open("ab") as log:
            self._programs[name] = subprocess.Popen(
                self.inside(words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **(env or {})},
            )

    def check(self) -> None:
        """Fail if one of its programs has ended."""
        for name, process in self._programs.items():
            if process.poll() is not None:
                raise RuntimeError(
                    f"{name} ended with {process.returncode}; see {self._logs / f'{name}.log'}"
                )

    def kill(self, name: str) -> None:
        """SIGKILL one of its programs."""
        for pid in _children(self._programs[name].pid):
            os.kill(pid, signal.SIGKILL)
        self._programs.pop(name).wait()

    def end(self) -> None:
        """End it with all that runs in it, containers included."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._holder.wait()
        for process in self._programs.values():
            process.wait()


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]

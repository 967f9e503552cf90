"""The released wheel in an environment of its own that every user of the machine can run."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Released", "open_python", "released"]

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Released:
    """The distributions, and an environment with the wheel."""

    wheel: Path
    source: Path
    environment: Path

    @property
    def footplate(self) -> str:
        """The command line."""
        return str(self.environment / "bin" / "footplate")


@contextlib.contextmanager
def released() -> Iterator[Released]:
    """Build both distributions and install the wheel with ``[hub]``; everything is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="fp-released-"))
    folder.chmod(0o755)
    try:
        _run([sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(ROOT)])
        wheel, source = next((folder / "dist").glob("*.whl")), next((folder / "dist").glob("*.tar.gz"))
        _install(f"{wheel}[hub]", folder / "venv")
        yield Released(wheel, source, folder / "venv")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def open_python() -> str | None:
    """A Python, new enough, that other users may run too; none where only ours is."""
    ours = getattr(sys, "_base_executable", sys.executable)
    for python in (ours, shutil.which("python3", path="/usr/local/bin:/usr/bin")):
        if python and all(
            parent.stat().st_mode & 0o005 == 0o005 for parent in Path(python).resolve().parents
        ):
            check = [python, "-c", "import sys, venv; sys.exit(sys.version_info < (3, 11))"]
            if subprocess.run(check, check=False).returncode == 0:
                return python
    return None


def _install(what: str, folder: Path) -> None:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    _run([open_python() or sys.executable, "-m", "venv", *(["--without-pip"] if uv else []), str(folder)])
    python = str(folder / "bin" / "python")
    # Copies: links into a cache in somebody's home would be closed to others.
    pip = (
        [uv, "pip", "install", "--link-mode", "copy", "--python", python]
        if uv
        else [python, "-m", "pip", "install", "--no-compile"]
    )
    _run([*pip, "--quiet", what])
    # On all cores, which pip does not; some packages ship files that are not Python, and that is no matter.
    subprocess.run(
        [python, "-m", "compileall", "-qq", "-j", "0", str(folder / "lib")], check=False, umask=0o022
    )


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, umask=0o022)
    assert done.returncode == 0, done.stdout + done.stderr

"""The agent runs in images that the platform did not make: the oldest Python that it promises, if here."""

from __future__ import annotations

import ast
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import footplate_agent
from support.agent import eventually

ROOM = Path(footplate_agent.__file__).parent


def _oldest_python() -> tuple[str, str]:
    """The oldest interpreter on the path that starts, and its version; this one at the latest."""
    for version in ("3.8", "3.9", "3.10"):
        try:
            code = "import sys; print(sys.executable)"
            done = subprocess.run(
                [f"python{version}", "-c", code], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return done.stdout.strip(), version
    return sys.executable, f"3.{sys.version_info[1]}"


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.py")), ids=lambda path: path.name)
def test_every_file_is_python_3_8(path):
    ast.parse(path.read_text(), str(path), feature_version=(3, 8))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("archive") / "footplate-agent.pyz"
    subprocess.run([sys.executable, "-m", "footplate_agent.zipapp", str(path)], check=True)
    return path


def test_a_cell_runs_under_the_oldest_python(archive, replica, service):
    python, version = _oldest_python()
    function = {
        "payload": {"encoding": "source", "digest": service.put(b"y = x + 1\nprint(y)\ny")},
        "inputs": {"x": {"encoding": "pickle", "digest": service.put(pickle.dumps(1, protocol=4))}},
        "outputs": ["y"],
    }
    one = replica(
        source={"function": function}, command=None, python={"version": version, "executable": python}
    )
    one.path.mkdir(parents=True)
    one.write()

    keeper = subprocess.Popen([python, str(archive), "keeper", str(one.path)], start_new_session=True)

    assert keeper.wait(30) == 0
    assert one.log == "2\n2\n"
    assert eventually(lambda: service.exit(one.token))["outputs"]["y"]["encoding"] == "pickle"

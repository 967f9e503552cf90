"""``make run``: the quickstart notebook through the hub, twice, and what it prints."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from support.up import SCRIPTS, Home, home


def test_the_quickstart_runs_through_the_hub_and_runs_again(tmp_path: Path) -> None:
    with home() as found:
        first = _run(found, tmp_path / "first.ipynb")
        second = _run(found, tmp_path / "second.ipynb")

    notebook = json.loads((tmp_path / "first.ipynb").read_text())
    said = {"".join(cell["source"])[:14]: _text(cell) for cell in notebook["cells"] if "outputs" in cell}
    accuracy = re.search(r"The network read ([\d.]+)% of the digits", first)
    assert accuracy is not None
    assert float(accuracy[1]) > 88
    assert "Needs" in said["%why patient"]
    assert "accuracy=" in said["job.metrics()"]
    assert "my turn" in said["for one in bus"]
    for kind in ("job.submitted", "job.admitted", "job.started", "job.succeeded"):
        assert kind in first.partition("Timeline of")[2]
    assert "/hub/link?token=" in first
    assert "make stop" in first
    assert "was up already" in second


def test_the_script_runs_by_hand_without_a_platform(tmp_path: Path) -> None:
    script = SCRIPTS.parent / "examples" / "train.py"

    done = subprocess.run(
        [sys.executable, script, "--epochs", "2"], cwd=tmp_path, env={"HOME": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert "epoch  2: loss" in done.stdout


def _run(found: Home, save: Path) -> str:
    done = subprocess.run(
        [sys.executable, SCRIPTS / "run_quickstart.py", "--port", str(found.port), "--save", save],
        env=found.environment, capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _text(cell: dict) -> str:
    return "".join(
        output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in cell["outputs"]
    )

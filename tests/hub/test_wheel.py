"""What is released: a wheel that pip alone installs and that needs no Node, Docker or checkout."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from support.released import Released
from support.up import home, wait_until


def test_the_source_distribution_has_what_is_needed_to_build_and_no_more(release: Released) -> None:
    with tarfile.open(release.source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {"pyproject.toml", "LICENSE", "README.md", "hub/footplate_hub/serve.py"} <= names
    assert [name for name in names if name.startswith((".venv", "test-results", ".footplate"))] == []


@pytest.mark.timeout(600)
def test_the_wheel_in_a_clean_environment_starts_a_platform_that_runs_a_job(
    release: Released, tmp_path: Path
) -> None:
    script = tmp_path / "project" / "hello.py"
    script.parent.mkdir()
    script.write_text(
        "import footplate\nfootplate.report(step=1, loss=0.5)\nprint('hello from', footplate.__file__)\n"
    )

    programs = _programs_without(tmp_path / "programs", {"docker", "kubectl", "node", "nodejs", "npm", "npx"})

    with home(command=release.footplate, more={"PATH": str(programs)}) as found:
        found.up()
        ran = found.footplate("train", "hello.py", cwd=script.parent, check=False)
        visitor = found.visitor()
        visitor.start_machine()
        loaded = visitor.start_kernel().run("%train --help").text
        jobs = json.loads(found.footplate("jobs", "--json").stdout)
        found.down()
        wait_until(lambda: found.processes() == {}, limit=20)

    assert ran.returncode == 0, ran.stderr
    assert f"hello from {release.environment}/" in ran.stdout
    assert "--gpus" in loaded
    assert [job["state"] for job in jobs] == ["succeeded"]


def _programs_without(folder: Path, unwanted: set[str]) -> Path:
    """A PATH with the system's programs, but for some."""
    folder.mkdir()
    for place in ("/usr/bin", "/bin"):
        for program in Path(place).iterdir():
            if program.name not in unwanted and not (folder / program.name).is_symlink():
                (folder / program.name).symlink_to(program)
    return folder
